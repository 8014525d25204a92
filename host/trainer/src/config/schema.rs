//! Keys in the JSON Schema of a configuration.

use serde_json::{Map, Value};

/// The schema of a dotted key.
pub fn property<'s>(schema: &'s mut Value, key: &str) -> Option<&'s mut Map<String, Value>> {
    let mut at = String::new();
    for part in key.split('.') {
        // Of alternatives the first one is the single table.
        for reference in ["/$ref", "/anyOf/0/$ref"] {
            let reference = schema.pointer(&format!("{at}{reference}"));
            if let Some(defined) = reference.and_then(Value::as_str) {
                at = defined.trim_start_matches('#').to_owned();
                break;
            }
        }
        at += &format!("/properties/{part}");
    }
    schema.pointer_mut(&at)?.as_object_mut()
}
