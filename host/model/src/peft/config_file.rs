//! adapter_config.json

use std::path::Path;

use serde_json::{Map, Value, json};

use super::module_name;
use super::settings;
use super::targets::{Pattern, Targets};
use crate::config::Module;
use crate::error::{Error, Result};
use crate::lora::{Place, Shape};

/// An adapted module of the file.
pub struct Entry {
    pub layer: usize,
    pub module: &'static Module,
    pub place: Place,
}

/// The file's text for an adapter on these modules. `base` is a folder, or a Hub id with or without `@REVISION`.
pub fn to_json(shape: &Shape, entries: &[Entry], base: &str) -> String {
    let (base, revision) = match base.rsplit_once('@') {
        Some((id, revision)) if !Path::new(base).exists() => (id, Some(revision)),
        _ => (base, None),
    };
    let mut modules: Vec<&'static Module> = Vec::new();
    for entry in entries {
        if !modules.contains(&entry.module) {
            modules.push(entry.module);
        }
    }
    // Stacked ones last, the others by their targets.
    modules.sort_by_key(|module| (module.is_stacked(), module.parts.first().copied()));
    let of = |module: &'static Module| entries.iter().filter(move |entry| entry.module == module);
    let layers_of =
        |module: &'static Module| of(module).map(|entry| entry.layer).collect::<Vec<_>>();
    let layers = modules.first().map(|module| layers_of(module)).unwrap_or_default();
    // Names for all layers, names for some, or every module by its whole name.
    let alike = modules.iter().all(|module| layers_of(module) == layers);
    let some = alike && layers.len() < shape.places.len();
    let mut ranks = Map::new();
    let mut alphas = Map::new();
    for module in &modules {
        let same = of(module).map(|entry| entry.place).collect::<Vec<_>>();
        let same = same.windows(2).all(|two| two[0] == two[1]);
        for Entry { layer, place, .. } in of(module) {
            let key = if same { module.name().to_owned() } else { module_name(module, *layer) };
            if place.rank != shape.rank {
                ranks.insert(key.clone(), json!(place.rank));
            }
            if place.alpha != shape.alpha {
                alphas.insert(key, json!(place.alpha));
            }
        }
    }
    let names: Vec<String> = if alike {
        modules.iter().map(|module| module.name().to_owned()).collect()
    } else {
        entries.iter().map(|entry| module_name(entry.module, entry.layer)).collect()
    };
    let mut text = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": shape.rank,
        "lora_alpha": number(shape.alpha),
        "target_modules": names,
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "use_rslora": shape.rank_stabilized,
        "use_dora": shape.magnitudes,
        "modules_to_save": null,
        "layers_to_transform": some.then_some(layers),
        "init_lora_weights": true,
        "inference_mode": true,
    });
    if let Some(revision) = revision {
        text["revision"] = json!(revision);
    }
    serde_json::to_string_pretty(&text).unwrap_or_default()
}

/// What an adapter_config.json that was read says, as far as it decides what the tensors mean.
pub struct AdapterSettings {
    pub rank: usize,
    pub alpha: f64,
    pub targets: Targets,
    pub rank_stabilized: bool,
    /// DoRA
    pub magnitudes: bool,
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
        let flag = |field: &str| match &json[field] {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            other => {
                let problem = format!("`{field}` is {other}, neither true nor false");
                Err(Error::file(path, problem, "save the adapter again"))
            }
        };
        Ok(Self {
            rank: rank as usize,
            alpha,
            targets: Targets::read(path, &json)?,
            rank_stabilized: flag("use_rslora")?,
            magnitudes: flag("use_dora")?,
            ranks: Pattern::read(path, &json, "rank_pattern")?,
            alphas: Pattern::read(path, &json, "alpha_pattern")?,
        })
    }

    /// The rank and alpha that the file gives a module.
    pub fn place(&self, module: &str) -> Place {
        Place {
            rank: self.ranks.of(module).map_or(self.rank, |rank| rank as usize),
            alpha: self.alphas.of(module).unwrap_or(self.alpha),
        }
    }
}

/// Whole numbers without a point, as `peft` writes them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
