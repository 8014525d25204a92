//! adapter_config.json

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::lora::LoraConfig;

/// What adapter_config.json says, as far as it matters here.
pub struct AdapterConfig {
    pub rank: usize,
    pub alpha: f64,
    /// Modules that are adapted, as the model's own code names them.
    pub modules: Vec<String>,
    /// Ranks and alphas that differ, by module.
    pub rank_pattern: Map<String, Value>,
    pub alpha_pattern: Map<String, Value>,
    base: String,
    path: PathBuf,
}

const UNSUPPORTED: &str = "train it again without that setting, or merge it in Python first";

/// Settings that must be absent, null, false or empty, because they change what the numbers mean.
const MUST_BE_OFF: [&str; 16] = [
    "use_dora",
    "use_rslora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "fan_in_fan_out",
    "modules_to_save",
    "layers_to_transform",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
];

impl AdapterConfig {
    /// For an adapter with one rank and alpha throughout.
    pub fn new(config: &LoraConfig, base: &str) -> Self {
        Self {
            rank: config.rank,
            alpha: config.alpha,
            modules: config.targets.iter().map(|t| t.name().to_owned()).collect(),
            rank_pattern: Map::new(),
            alpha_pattern: Map::new(),
            base: base.to_owned(),
            path: PathBuf::new(),
        }
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        let text = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base,
            "r": self.rank,
            "lora_alpha": number(self.alpha),
            "target_modules": self.modules,
            "rank_pattern": self.rank_pattern,
            "alpha_pattern": self.alpha_pattern,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": false,
            "use_rslora": false,
            "use_dora": false,
            "modules_to_save": null,
            "layers_to_transform": null,
            "init_lora_weights": true,
            "inference_mode": true,
        });
        serde_json::to_string_pretty(&text).unwrap_or_default()
    }

    /// Read the file and refuse what can't be honoured.
    ///
    /// # Errors
    /// [`Error::File`] that names the setting; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Err(Error::file(path, "is missing", "give the folder of an adapter"));
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let json: Value = serde_json::from_slice(&bytes).map_err(|e| {
            Error::file(path, format!("isn't valid JSON: {e}"), "save the adapter again")
        })?;
        refuse_settings(path, &json)?;
        let missing = |field: &str| {
            Error::file(
                path,
                format!("field `{field}` is missing or not a number"),
                "save the adapter again",
            )
        };
        let rank = json["r"].as_u64().ok_or_else(|| missing("r"))?;
        let alpha = json["lora_alpha"].as_f64().ok_or_else(|| missing("lora_alpha"))?;
        let map = |field: &str| json[field].as_object().cloned().unwrap_or_default();
        Ok(Self {
            rank: rank as usize,
            alpha,
            modules: Vec::new(),
            rank_pattern: map("rank_pattern"),
            alpha_pattern: map("alpha_pattern"),
            base: String::new(),
            path: path.to_owned(),
        })
    }

    /// Ranks that differ by module fit only Phi-3's fused modules.
    ///
    /// # Errors
    /// [`Error::File`] when there are any.
    pub fn refuse_patterns(&self) -> Result<()> {
        let patterns =
            [("rank_pattern", &self.rank_pattern), ("alpha_pattern", &self.alpha_pattern)];
        match patterns.into_iter().find(|(_, pattern)| !pattern.is_empty()) {
            Some((field, _)) => {
                Err(Error::file(&self.path, format!("`{field}` isn't supported"), UNSUPPORTED))
            }
            None => Ok(()),
        }
    }
}

fn refuse_settings(path: &Path, json: &Value) -> Result<()> {
    if json["peft_type"] != "LORA" {
        let problem = format!("`peft_type` is {}, only \"LORA\" is supported", json["peft_type"]);
        return Err(Error::file(path, problem, "give a LoRA adapter"));
    }
    let is_off = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if let Some(field) = MUST_BE_OFF.into_iter().find(|field| !is_off(&json[*field])) {
        return Err(Error::file(
            path,
            format!("`{field}` is {}, which isn't supported", json[field]),
            UNSUPPORTED,
        ));
    }
    match &json["bias"] {
        Value::Null => Ok(()),
        Value::String(bias) if bias == "none" => Ok(()),
        other => Err(Error::file(
            path,
            format!("`bias` is {other}, only \"none\" is supported"),
            UNSUPPORTED,
        )),
    }
}

/// Whole numbers without a point, as `peft` writes them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
