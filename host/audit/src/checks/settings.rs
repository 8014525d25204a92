//! Whether settings mean what the schema says, and wrong ones are noticed.

use serde_json::{Map, Value, json};

use super::finding::{Check, Finding, Group};
use crate::{
    inspect::{defaults, is_closed, properties},
    synthetic::Subject,
};
use host_sandbox::Error;

const DEFAULTS: Check = Check::new("settings-defaults", Group::Settings, "Defaults of the schema");
const UNKNOWN: Check = Check::new("settings-unknown-key", Group::Settings, "A misspelt setting");
const WRONG: Check =
    Check::new("settings-wrong-kind", Group::Settings, "A setting of the wrong kind");
const OBJECT: Check =
    Check::new("settings-no-object", Group::Settings, "Settings that are no object");

/// A key that no policy has.
const NO_KEY: &str = "no-such-setting";

pub(super) fn checks(subject: &Subject<'_>) -> Vec<Finding> {
    let schema = &subject.policy.descriptor().settings_schema;
    vec![
        schema_defaults(subject, schema),
        unknown_key(subject, schema),
        wrong_kind(subject, schema),
        no_object(subject),
    ]
}

/// What the policy itself says to settings, whatever the host thinks of them.
enum Said {
    Accepted,
    Refused(String),
    Fault(String),
}

fn ask(subject: &Subject<'_>, settings: &str) -> Said {
    match subject.policy.ask_needs(settings, &subject.run) {
        Ok(_) => Said::Accepted,
        Err(Error::Settings { message, .. }) => Said::Refused(message),
        Err(error) => Said::Fault(error.to_string()),
    }
}

/// Written out, the defaults must do what leaving them out does.
fn schema_defaults(subject: &Subject<'_>, schema: &str) -> Finding {
    let defaults = defaults(schema);
    if defaults.is_empty() {
        return DEFAULTS.not_applicable("-", "The schema names no defaults.");
    }
    let (count, written) = (defaults.len(), Value::Object(defaults).to_string());
    let needs = |settings: &str| subject.policy.ask_needs(settings, &subject.run);
    match (needs("{}"), needs(&written)) {
        (Ok((empty, _)), Ok((full, _))) if empty == full => DEFAULTS.pass(
            format!("{count} defaults are accepted, and ask for what {{}} asks for"),
            "What the schema says happens by default is what happens.",
        ),
        (Ok(_), Ok(_)) => DEFAULTS.fail(
            "with every default written out the policy asks for something else than with {}",
            "The schema does not describe what happens by default.",
        ),
        // Some policies can't run without a setting of the run's own.
        (Err(error), _) => DEFAULTS.note(
            format!("without settings: {error}"),
            "The policy has no complete defaults: every run must set something.",
        ),
        (_, Err(error)) => DEFAULTS
            .fail(error.to_string(), "The policy refuses its own defaults; the schema is wrong."),
    }
}

fn unknown_key(subject: &Subject<'_>, schema: &str) -> Finding {
    let mut settings = own_settings(subject);
    settings.insert(NO_KEY.into(), json!(1));
    match ask(subject, &Value::Object(settings).to_string()) {
        Said::Refused(message) => UNKNOWN.pass(
            format!("refused: {message}"),
            "A typing error in a setting is noticed before anything runs.",
        ),
        Said::Fault(message) => {
            UNKNOWN.fail(message, "It fails on an unknown key instead of refusing it.")
        }
        Said::Accepted if is_closed(schema) => UNKNOWN.fail(
            format!("{NO_KEY:?} is accepted, though the schema forbids other keys"),
            "A misspelt safety setting would silently keep its default.",
        ),
        Said::Accepted => UNKNOWN.note(
            format!("{NO_KEY:?} is accepted, as the schema allows"),
            "A misspelt setting silently keeps its default. Check each key by hand.",
        ),
    }
}

/// Each setting in turn gets a value of a kind that its schema does not allow.
fn wrong_kind(subject: &Subject<'_>, schema: &str) -> Finding {
    let wrong: Vec<(String, Value)> = properties(schema)
        .into_iter()
        .filter_map(|(name, property)| Some((name, of_another_kind(&property)?)))
        .collect();
    if wrong.is_empty() {
        return WRONG.not_applicable("-", "The schema gives no setting a kind.");
    }
    let (mut accepted, mut faults) = (Vec::new(), Vec::new());
    let count = wrong.len();
    for (name, value) in wrong {
        let shown = format!("{}: {value}", host_files::text::clean(&name, 64));
        let mut settings = own_settings(subject);
        settings.insert(name, value);
        match ask(subject, &Value::Object(settings).to_string()) {
            Said::Refused(_) => {}
            Said::Accepted => accepted.push(shown),
            Said::Fault(message) => faults.push(format!("{shown}: {message}")),
        }
    }
    if !faults.is_empty() {
        return WRONG.fail(faults.join("; "), "It fails on such a value instead of refusing it.");
    }
    if accepted.is_empty() {
        WRONG.pass(
            format!("all {count} are refused"),
            "Each setting is checked for its kind before anything runs.",
        )
    } else {
        WRONG.fail(
            format!("accepted: {}", accepted.join(", ")),
            "A value that means nothing is taken without a word.",
        )
    }
}

/// The host refuses these before the policy sees them; a careful policy does too.
fn no_object(subject: &Subject<'_>) -> Finding {
    let (mut accepted, mut faults) = (Vec::new(), Vec::new());
    for settings in ["[]", "3", "null", "{", ""] {
        match ask(subject, settings) {
            Said::Refused(_) => {}
            Said::Accepted => accepted.push(format!("{settings:?}")),
            Said::Fault(message) => faults.push(format!("{settings:?}: {message}")),
        }
    }
    match (accepted.is_empty(), faults.is_empty()) {
        (true, true) => OBJECT.pass("all refused by the policy itself", "As it should be."),
        (false, true) => OBJECT.note(
            format!("the policy accepts {}", accepted.join(", ")),
            "This host refuses such settings anyway; another host may not.",
        ),
        _ => OBJECT.note(
            faults.join("; "),
            "This host refuses such settings before the policy sees them; alone it would fail.",
        ),
    }
}

fn own_settings(subject: &Subject<'_>) -> Map<String, Value> {
    serde_json::from_str(&subject.settings).unwrap_or_default()
}

fn of_another_kind(property: &Value) -> Option<Value> {
    let kinds: Vec<&str> = match &property["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if property["enum"].is_array() => return Some(json!({"no": "choice"})),
        _ => return None,
    };
    let others = [
        ("object", json!({"wrong": "kind"})),
        ("string", json!("wrong kind")),
        ("array", json!(["wrong", "kind"])),
        ("boolean", json!(true)),
    ];
    others.into_iter().find(|(kind, _)| !kinds.contains(kind)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kind_is_never_an_allowed_one() {
        let of = |property: Value| of_another_kind(&property);
        assert_eq!(of(json!({"type": "number"})), Some(json!({"wrong": "kind"})));
        assert_eq!(of(json!({"type": ["object", "null"]})), Some(json!("wrong kind")));
        assert_eq!(of(json!({"type": ["object", "string", "array", "boolean"]})), None);
        assert!(of(json!({"enum": [1, 2]})).is_some());
        assert_eq!(of(json!({})), None);
    }
}
