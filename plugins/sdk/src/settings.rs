//! Reading the settings object.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads `text`, a JSON object, into `S`.
///
/// # Errors
/// One line that names the key: unknown keys (with the known ones, which are the
/// `properties` of `schema`, and the nearest of them), values of the wrong type,
/// and text that isn't a JSON object.
pub fn parse<S: DeserializeOwned>(text: &str, schema: &str) -> Result<S, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("the settings are not valid JSON: {error}"))?;
    let Value::Object(object) = value else {
        return Err("the settings must be a JSON object, such as {}".to_string());
    };
    let known = known_keys(schema)?;
    for key in object.keys() {
        if !known.contains(key) {
            return Err(unknown_key(key, &known));
        }
    }
    match serde_json::from_value(Value::Object(object.clone())) {
        Ok(settings) => Ok(settings),
        Err(error) => Err(wrong_value::<S>(&object, &error.to_string())),
    }
}

/// The error for a value that a policy's own check refuses: `key: what is wrong`.
pub fn invalid(key: &str, what: impl std::fmt::Display) -> String {
    format!("setting `{key}`: {what}")
}

fn known_keys(schema: &str) -> Result<Vec<String>, String> {
    let schema: Value = serde_json::from_str(schema)
        .map_err(|error| format!("the policy's own settings schema is not JSON: {error}"))?;
    Ok(match schema.get("properties") {
        Some(Value::Object(properties)) => properties.keys().cloned().collect(),
        _ => Vec::new(),
    })
}

fn unknown_key(key: &str, known: &[String]) -> String {
    if known.is_empty() {
        return format!("unknown setting `{key}`: this policy takes no settings");
    }
    let list = known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    match nearest(key, known) {
        Some(close) => {
            format!("unknown setting `{key}`, did you mean `{close}`? The settings are {list}")
        }
        None => format!("unknown setting `{key}`: the settings are {list}"),
    }
}

/// serde's message doesn't say which key it is about, so read the keys one by one.
fn wrong_value<S: DeserializeOwned>(object: &Map<String, Value>, fallback: &str) -> String {
    for (key, value) in object {
        let single = Map::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<S>(Value::Object(single)) {
            return invalid(key, error);
        }
    }
    format!("the settings can't be read: {fallback}")
}

/// The known key closest to `key`, if it is close enough to be a slip.
fn nearest<'a>(key: &str, known: &'a [String]) -> Option<&'a String> {
    known
        .iter()
        .map(|candidate| (edit_distance(key, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 3)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(default)]
    struct Example {
        b_min: f64,
        layers: Option<Vec<u32>>,
    }

    impl Default for Example {
        fn default() -> Self {
            Self { b_min: 0.1, layers: None }
        }
    }

    const SCHEMA: &str = r#"{"properties": {"b_min": {}, "layers": {}}}"#;

    fn read(text: &str) -> Result<Example, String> {
        parse(text, SCHEMA)
    }

    #[test]
    fn absent_keys_take_their_defaults() {
        assert_eq!(read("{}").unwrap(), Example::default());
        let given = read(r#"{"b_min": 0.25, "layers": [3]}"#).unwrap();
        assert_eq!(given, Example { b_min: 0.25, layers: Some(vec![3]) });
    }

    #[test]
    fn an_unknown_key_names_itself_the_known_ones_and_the_nearest() {
        let error = read(r#"{"bmin": 0.25}"#).unwrap_err();
        assert_eq!(
            error,
            "unknown setting `bmin`, did you mean `b_min`? The settings are `b_min`, `layers`"
        );
        let error = read(r#"{"temperature": 1}"#).unwrap_err();
        assert_eq!(error, "unknown setting `temperature`: the settings are `b_min`, `layers`");
        let error = parse::<Example>(r#"{"x": 1}"#, "{}").unwrap_err();
        assert_eq!(error, "unknown setting `x`: this policy takes no settings");
    }

    #[test]
    fn a_wrong_type_names_its_key() {
        let error = read(r#"{"layers": [1], "b_min": "low"}"#).unwrap_err();
        assert!(error.starts_with("setting `b_min`: invalid type"), "{error}");
        let error = read(r#"{"layers": [-1]}"#).unwrap_err();
        assert!(error.starts_with("setting `layers`: invalid value"), "{error}");
    }

    #[test]
    fn settings_that_are_no_object_are_refused() {
        assert!(read("[]").unwrap_err().contains("must be a JSON object"));
        assert!(read("{").unwrap_err().contains("not valid JSON"));
        assert!(read("").unwrap_err().contains("not valid JSON"));
    }

    #[test]
    fn edit_distance_counts_insertions_deletions_and_substitutions() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "ab"), 2);
        assert_eq!(edit_distance("same", "same"), 0);
    }
}
