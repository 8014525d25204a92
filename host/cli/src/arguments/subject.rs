//! Which policy is asked, with which settings, for a run on what model.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

#[derive(Debug, Args)]
pub struct SubjectArguments {
    /// Settings of the policy: a JSON object, or KEY=VALUE. Can be repeated.
    #[arg(long, value_name = "JSON|KEY=VALUE", value_parser = part)]
    pub settings: Vec<Map<String, Value>>,
    /// Calibration made by `host calibrate` for this policy, instead of one on synthetic
    /// examples. --layers and --hidden must be those of its model.
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Decoder blocks of the model that the policy is told of.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub layers: u32,
    /// Width of that model.
    #[arg(long, value_name = "N", default_value_t = 576, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub hidden: u32,
    /// Seed of the synthetic signals.
    #[arg(long, value_name = "N", default_value_t = 17)]
    pub seed: u64,
}

impl SubjectArguments {
    /// All parts in one object; a later one wins.
    pub fn settings(&self) -> Value {
        let parts = self.settings.iter().cloned();
        Value::Object(parts.flatten().collect())
    }
}

/// A JSON object, or a key and its value: JSON, or else text as it stands.
fn part(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"));
    }
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            Ok(Map::from_iter([(key.to_owned(), value)]))
        }
        _ => Err("write {\"b_max\": 0.8} or b_max=0.8".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_json_or_key_and_value() {
        assert_eq!(Value::Object(part(r#"{"a": 1}"#).unwrap()), json!({"a": 1}));
        assert_eq!(Value::Object(part("a=0.5").unwrap()), json!({"a": 0.5}));
        assert_eq!(Value::Object(part("a=[1, 2]").unwrap()), json!({"a": [1, 2]}));
        assert_eq!(Value::Object(part("mode=batch").unwrap()), json!({"mode": "batch"}));
        for wrong in ["a", "=1", "{a", ""] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
