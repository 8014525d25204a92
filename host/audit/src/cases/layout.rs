//! Cases as a person reads them.

use serde_json::Value;

/// Indented, with long lists of numbers on one line.
pub fn pretty(value: &Value) -> String {
    let mut text = String::new();
    layout(value, 0, &mut text);
    text.push('\n');
    text
}

fn layout(value: &Value, indent: usize, text: &mut String) {
    let line = |text: &mut String, indent: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", indent));
    };
    match value {
        Value::Object(fields) if !fields.is_empty() && value.to_string().len() > 80 => {
            text.push('{');
            for (i, (key, field)) in fields.iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                line(text, indent + 1);
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push_str(": ");
                layout(field, indent + 1, text);
            }
            line(text, indent);
            text.push('}');
        }
        Value::Array(items) if items.iter().any(|i| i.is_object() || i.is_array()) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                line(text, indent + 1);
                layout(item, indent + 1, text);
            }
            line(text, indent);
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_layout_is_the_same_json() {
        let long = "x".repeat(90);
        let value = json!({"numbers": [1.5, 2.5], "rows": [{"a": long}, {"b": []}], "empty": {}});
        let mut text = String::new();
        layout(&value, 0, &mut text);
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
        assert!(text.contains("[1.5,2.5]"));
    }
}
