//! adapter_config.json

use std::path::Path;

use serde_json::{Map, Value, json};

use super::settings;
use super::targets::{Pattern, Targets};
use crate::error::{Error, Result};
use crate::lora::LoraConfig;

/// What adapter_config.json says of an adapter that is to be written.
pub struct AdapterConfig {
    pub rank: usize,
    pub alpha: f64,
    /// Modules that are adapted, as the model's own code names them.
    pub modules: Vec<String>,
    /// Ranks and alphas that differ, by module.
    pub rank_pattern: Map<String, Value>,
    pub alpha_pattern: Map<String, Value>,
    base: String,
}

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
}

/// What an adapter_config.json that was read says, as far as it decides what the tensors mean.
pub struct AdapterSettings {
    pub rank: usize,
    pub alpha: f64,
    pub targets: Targets,
    rank_stabilized: bool,
    ranks: Pattern,
    alphas: Pattern,
}

impl AdapterSettings {
    /// Read the file and refuse what can't be honoured.
    ///
    /// # Errors
    /// [`Error::File`] that names the setting; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Err(Error::file(path, "is missing", "give the folder of an adapter"));
        }
        let bytes = host_files::capped::read(path, crate::budget::CONFIG)
            .map_err(|e| Error::io(path, e))?;
        let json: Value = serde_json::from_slice(&bytes).map_err(|e| {
            Error::file(path, format!("isn't valid JSON: {e}"), "save the adapter again")
        })?;
        settings::check(path, &json)?;
        let missing = |field: &str| {
            Error::file(
                path,
                format!("field `{field}` is missing or not a number"),
                "save the adapter again",
            )
        };
        let rank = json["r"].as_u64().ok_or_else(|| missing("r"))?;
        let alpha = json["lora_alpha"].as_f64().ok_or_else(|| missing("lora_alpha"))?;
        let rank_stabilized = match &json["use_rslora"] {
            Value::Null => false,
            Value::Bool(flag) => *flag,
            other => {
                let problem = format!("`use_rslora` is {other}, neither true nor false");
                return Err(Error::file(path, problem, "save the adapter again"));
            }
        };
        Ok(Self {
            rank: rank as usize,
            alpha,
            targets: Targets::read(path, &json)?,
            rank_stabilized,
            ranks: Pattern::read(path, &json, "rank_pattern")?,
            alphas: Pattern::read(path, &json, "alpha_pattern")?,
        })
    }

    /// The rank that the file gives a module, and its scaling at the rank that its tensors have.
    pub fn rank_and_scaling(&self, module: &str, rank: usize) -> (usize, f64) {
        let stated = self.ranks.of(module).map_or(self.rank, |rank| rank as usize);
        let alpha = self.alphas.of(module).unwrap_or(self.alpha);
        let divisor = if self.rank_stabilized { (rank as f64).sqrt() } else { rank as f64 };
        (stated, alpha / divisor)
    }
}

/// Whole numbers without a point, as `peft` writes them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
