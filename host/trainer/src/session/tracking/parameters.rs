//! The keys of a configuration that say how a run learns, for trackers.

use std::path::Path;

use serde_json::Value;

use crate::config::RunConfig;

/// Sections that trackers get; the others hold texts, addresses and names of keys.
const SECTIONS: [&str; 7] = ["seed", "model", "data", "lora", "train", "policy", "trust"];
/// Longest value, in characters.
const LONGEST: usize = 250;
/// Most keys; settings of policies and templates are open-ended.
const MOST: usize = 200;

/// Dotted keys and their values. Of files only the name is told, since folders may name people.
pub fn of(config: &RunConfig) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    if let Ok(Value::Object(sections)) = serde_json::to_value(config) {
        for section in SECTIONS {
            if let Some(value) = sections.get(section) {
                add(section, value, &mut parameters);
            }
        }
    }
    parameters.truncate(MOST);
    parameters
}

fn add(key: &str, value: &Value, parameters: &mut Vec<(String, String)>) {
    let text = match value {
        Value::Null => return,
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(field, value)| add(&format!("{key}.{field}"), value, parameters));
            return;
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let items = items.iter().enumerate();
            items.for_each(|(number, item)| add(&format!("{key}.{number}"), item, parameters));
            return;
        }
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        other => shown(other),
    };
    parameters.push((key.into(), host_files::text::brief(&text, LONGEST)));
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => name_of(text).into(),
        other => other.to_string(),
    }
}

/// The name of a file, without its folders; whatever else it is as it is.
fn name_of(text: &str) -> &str {
    let path = Path::new(text);
    let is_path = text.starts_with(['/', '.', '~']) || (text.contains('/') && path.exists());
    let name = path.file_name().and_then(|name| name.to_str());
    name.filter(|_| is_path).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn trackers_get_numbers_and_names_and_no_folder_address_or_text() {
        let mut layers = Layers::default();
        let text = "[model]\nsource = \"org/name\"\n[data]\ntrain = [\"/home/ann/acme/rows.jsonl\"]\n\
                    [policy]\npath = \"../p.wasm\"\nsettings = { b_max = 0.5 }\n\
                    [judges.a.endpoint]\nurl = \"http://localhost:1/v1\"\nmodel = \"m\"\n\
                    key_variable = \"KEY\"\n[eval]\nrefusal_phrases = [\"I won't\"]\n";
        layers.add_text(text, "a.toml").expect("good");
        let parameters = of(&layers.resolve().expect("good"));
        let value = |key: &str| {
            let found = parameters.iter().find(|(known, _)| known == key);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("seed"), Some("17"));
        assert_eq!(value("model.source"), Some("org/name"));
        assert_eq!(value("data.train.0.path"), Some("rows.jsonl"));
        assert_eq!(value("policy.0.path"), Some("p.wasm"));
        assert_eq!(value("policy.0.settings.b_max"), Some("0.5"));
        assert_eq!(
            value("lora.targets"),
            Some("q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj")
        );
        let all = format!("{parameters:?}");
        for absent in ["ann", "acme", "localhost", "KEY", "won't"] {
            assert!(!all.contains(absent), "{absent}: {all}");
        }
    }
}
