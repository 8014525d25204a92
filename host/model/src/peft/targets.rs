//! Which modules an adapter is for, and with which rank and alpha, as peft decides it.

use std::path::Path;

use regex::Regex;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::lora::modules::{Modules, pattern};

const WRITE_OUT: &str = "name the modules in a list, or merge the adapter in Python";

/// `target_modules` and the fields that narrow it.
pub struct Targets {
    named: Option<Modules>,
    excluded: Option<Modules>,
    /// Layers, if not all.
    layers: Option<Vec<usize>>,
    /// What stands before the number of a layer; none: anything.
    before: Vec<Regex>,
}

/// The modules that a field names; none: the file doesn't say.
fn read_modules(path: &Path, field: &str, value: &Value) -> Result<Option<Modules>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => {
            let modules = if field == "target_modules" {
                Modules::of_text(text)
            } else {
                Modules::matching(text)
            };
            modules.map(Some).map_err(|_| unreadable(path, field, text))
        }
        Value::Array(list) => {
            let names = list.iter().map(|name| name.as_str().map(str::to_owned));
            let names = names.collect::<Option<Vec<_>>>();
            names.map(|names| Some(Modules::Ends(names))).ok_or_else(|| {
                Error::file(
                    path,
                    format!("`{field}` isn't a list of names"),
                    "save the adapter again",
                )
            })
        }
        other => Err(Error::file(path, format!("`{field}` is {other}"), "save the adapter again")),
    }
}

impl Targets {
    /// Of adapter_config.json.
    ///
    /// # Errors
    /// [`Error::File`] for a field of another type, or an expression that only Python understands.
    pub fn read(path: &Path, json: &Value) -> Result<Self> {
        let layers = match &json["layers_to_transform"] {
            Value::Null => None,
            Value::Array(list) if list.is_empty() => None,
            Value::Array(list) => Some(list.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()),
            one => Some(one.as_u64().map(|layer| vec![layer])),
        };
        let layers = layers.map(|layers| {
            let layers = layers.ok_or_else(|| {
                Error::file(
                    path,
                    "`layers_to_transform` isn't a list of layers",
                    "save the adapter again",
                )
            })?;
            Ok::<_, Error>(layers.into_iter().map(|layer| layer as usize).collect())
        });
        let excluded = match &json["exclude_modules"] {
            Value::Null => None,
            Value::Array(list) if list.is_empty() => None,
            value => read_modules(path, "exclude_modules", value)?,
        };
        let texts = |value: &Value| match value {
            Value::String(text) if !text.is_empty() => vec![text.clone()],
            Value::Array(list) => {
                list.iter().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
            }
            _ => Vec::new(),
        };
        let before = texts(&json["layers_pattern"]).into_iter();
        let before = before.map(|text| {
            expression(path, "layers_pattern", &format!(r"^(?:|.*?\.){text}\.(\d+)\."))
        });
        Ok(Self {
            named: read_modules(path, "target_modules", &json["target_modules"])?,
            excluded,
            layers: layers.transpose()?,
            before: before.collect::<Result<_>>()?,
        })
    }

    /// Whether the file says which modules it is for.
    pub fn are_known(&self) -> bool {
        self.named.is_some()
    }

    /// Whether the adapter is for `module` (`model.layers.0.self_attn.q_proj`) of layer `layer`.
    pub fn hold(&self, module: &str, layer: usize) -> bool {
        if self.excluded.as_ref().is_some_and(|excluded| excluded.hold(module))
            || self.named.as_ref().is_some_and(|named| !named.hold(module))
        {
            return false;
        }
        let Some(layers) = &self.layers else {
            return true;
        };
        // An expression, and a module named whole, aren't narrowed.
        let whole = match &self.named {
            Some(Modules::Matching(_)) => true,
            Some(Modules::Ends(names)) => names.iter().any(|name| name == module),
            Some(Modules::All) | None => false,
        };
        let numbered =
            self.before.is_empty() || self.before.iter().any(|before| before.is_match(module));
        whole || (numbered && layers.contains(&layer))
    }
}

/// `rank_pattern` or `alpha_pattern`: numbers for modules whose names end as an expression says.
pub struct Pattern(Vec<(Regex, f64)>);

impl Pattern {
    /// Of adapter_config.json; empty if the field isn't there.
    ///
    /// # Errors
    /// [`Error::File`] for something that isn't a number, or an expression that only Python understands.
    pub fn read(path: &Path, json: &Value, field: &str) -> Result<Self> {
        let empty = Map::new();
        let entries = match &json[field] {
            Value::Null => &empty,
            Value::Object(map) => map,
            other => {
                return Err(Error::file(
                    path,
                    format!("`{field}` is {other}"),
                    "save the adapter again",
                ));
            }
        };
        let entry = |(key, value): (&String, &Value)| {
            let number = value.as_f64().filter(|number| number.is_finite());
            let number = number.ok_or_else(|| {
                Error::file(path, format!("`{field}` gives {key:?} {value}"), "give it a number")
            })?;
            Ok((pattern(key).map_err(|_| unreadable(path, field, key))?, number))
        };
        entries.iter().map(entry).collect::<Result<_>>().map(Self)
    }

    /// The number for a module; the first expression that fits counts.
    pub fn of(&self, module: &str) -> Option<f64> {
        let (_, number) = self.0.iter().find(|(expression, _)| expression.is_match(module))?;
        Some(*number)
    }
}

fn expression(path: &Path, field: &str, text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|_| unreadable(path, field, text))
}

fn unreadable(path: &Path, field: &str, text: &str) -> Error {
    Error::file(
        path,
        format!("`{field}` holds an expression that can't be read here ({text})"),
        WRITE_OUT,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn holds(json: Value) -> Vec<&'static str> {
        let targets = Targets::read(Path::new("x"), &json).unwrap();
        let modules = [
            ("model.layers.0.self_attn.q_proj", 0),
            ("model.layers.1.self_attn.q_proj", 1),
            ("model.layers.1.mlp.up_proj", 1),
            ("model.layers.11.mlp.up_proj", 11),
        ];
        modules
            .into_iter()
            .filter(|(module, layer)| targets.hold(module, *layer))
            .map(|(module, _)| &module[13..])
            .collect()
    }

    #[test]
    fn modules_are_found_as_peft_finds_them() {
        assert_eq!(
            holds(json!({ "target_modules": ["q_proj"] })),
            ["0.self_attn.q_proj", "1.self_attn.q_proj"]
        );
        assert_eq!(holds(json!({ "target_modules": ["_proj"] })).len(), 0);
        assert_eq!(holds(json!({ "target_modules": ["layers.1.mlp.up_proj"] })), ["1.mlp.up_proj"]);
        assert_eq!(
            holds(json!({ "target_modules": r".*\.1\..*_proj" })),
            ["1.self_attn.q_proj", "1.mlp.up_proj"]
        );
        assert_eq!(
            holds(json!({ "target_modules": "all-linear", "exclude_modules": ["q_proj"] })),
            ["1.mlp.up_proj", "11.mlp.up_proj"]
        );
        assert_eq!(
            holds(json!({ "target_modules": ["q_proj", "up_proj"], "layers_to_transform": 1 })),
            ["1.self_attn.q_proj", "1.mlp.up_proj"]
        );
        assert_eq!(
            holds(
                json!({ "target_modules": ["up_proj"], "layers_to_transform": [11], "layers_pattern": "layers" })
            ),
            ["11.mlp.up_proj"]
        );
        assert_eq!(holds(json!({ "target_modules": ["up_proj"], "layers_to_transform": [11], "layers_pattern": ["h"] })).len(), 0);
    }

    #[test]
    fn the_first_pattern_that_fits_counts() {
        let read = |json: Value| Pattern::read(Path::new("x"), &json, "rank_pattern").unwrap();
        let pattern =
            read(json!({ "rank_pattern": { "^model.layers.0.*q_proj": 2, "q_proj": 4 } }));
        assert_eq!(pattern.of("model.layers.1.self_attn.q_proj"), Some(4.0));
        assert_eq!(pattern.of("model.layers.0.self_attn.k_proj"), None);
        assert_eq!(read(json!({})).of("x"), None);
    }
}
