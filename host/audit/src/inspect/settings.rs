//! What a policy's settings schema says, as far as a person wants to know it.

use serde::Serialize;
use serde_json::{Map, Value};

use host_files::text::clean;

/// Settings that are shown; more is no longer for people.
const MOST: usize = 200;

/// One property of the schema; all text is clean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    pub name: String,
    /// Such as `number from 0 to 1`.
    pub accepts: String,
    /// JSON; absent if the schema gives none.
    pub default: Option<Value>,
    pub description: String,
}

pub(super) fn settings(schema: &str) -> Vec<Setting> {
    let setting = |(name, property): (&String, &Value)| Setting {
        name: clean(name, 64),
        accepts: accepts(property),
        default: property.get("default").map(cleaned),
        description: clean(text(property, "description"), 500),
    };
    let properties = properties(schema);
    properties.iter().take(MOST).map(setting).collect()
}

/// The settings object in which every default of the schema is written out.
pub(crate) fn defaults(schema: &str) -> Map<String, Value> {
    let properties = properties(schema).into_iter();
    properties
        .filter_map(|(name, property)| Some((name, property.get("default")?.clone())))
        .collect()
}

/// Whether the schema forbids keys that it does not name.
pub(crate) fn is_closed(schema: &str) -> bool {
    let schema: Option<Value> = serde_json::from_str(schema).ok();
    schema.is_some_and(|schema| schema["additionalProperties"] == Value::Bool(false))
}

pub(crate) fn properties(schema: &str) -> Map<String, Value> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    match schema.get("properties") {
        Some(Value::Object(properties)) => properties.clone(),
        _ => Map::new(),
    }
}

fn accepts(property: &Value) -> String {
    if let Some(choices) = property["enum"].as_array() {
        let choices: Vec<String> = choices.iter().map(word).collect();
        return clean(&choices.join(" | "), 300);
    }
    let kinds = match &property["type"] {
        Value::Array(kinds) => kinds.iter().map(word).collect::<Vec<_>>().join(" or "),
        Value::String(kind) => kind.clone(),
        _ => "anything".to_owned(),
    };
    let bound =
        |inclusive: &str, exclusive: &str| match (&property[inclusive], &property[exclusive]) {
            (Value::Number(n), _) => Some(n.to_string()),
            (_, Value::Number(n)) => Some(format!("{n} (exclusive)")),
            _ => None,
        };
    let range = match (bound("minimum", "exclusiveMinimum"), bound("maximum", "exclusiveMaximum")) {
        (Some(low), Some(high)) => format!(" from {low} to {high}"),
        (Some(low), None) => format!(" from {low}"),
        (None, Some(high)) => format!(" up to {high}"),
        (None, None) => String::new(),
    };
    clean(&(kinds + &range), 300)
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn text<'a>(property: &'a Value, key: &str) -> &'a str {
    property[key].as_str().unwrap_or_default()
}

/// A default may hold text that the policy wrote.
fn cleaned(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(text, 200)),
        Value::Array(items) => items.iter().take(64).map(cleaned).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().take(64);
            fields.map(|(key, value)| (clean(key, 64), cleaned(value))).collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        "properties": {
            "mode": {"enum": ["a", "b"], "default": "a", "description": "Which\u001b[2J one."},
            "weight": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.5},
            "layers": {"type": ["array", "null"], "default": null},
            "free": {}
        },
        "additionalProperties": false
    }"#;

    #[test]
    fn properties_are_read_in_their_order_and_cleaned() {
        let all = settings(SCHEMA);
        let accepts: Vec<&str> = all.iter().map(|one| one.accepts.as_str()).collect();
        assert_eq!(
            accepts,
            ["a | b", "number from 0 to 1 (exclusive)", "array or null", "anything"]
        );
        assert_eq!(all[0].description, "Which one.");
        assert_eq!(all[3].default, None);
        assert_eq!(
            Value::Object(defaults(SCHEMA)).to_string(),
            r#"{"mode":"a","weight":0.5,"layers":null}"#
        );
        assert!(is_closed(SCHEMA) && !is_closed("{}"));
    }

    #[test]
    fn a_schema_of_another_shape_has_no_settings() {
        for schema in ["{}", r#"{"properties": 3}"#, r#"{"properties": {"a": 1}}"#, "[]", "no"] {
            assert!(settings(schema).len() <= 1);
            assert!(defaults(schema).is_empty());
        }
    }
}
