//! `[model]`: which model a configuration names, and where it runs.

use std::path::PathBuf;

use candle_core::{DType, Device};
use host_model::Model;
use host_model::load::{LoadOptions, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::demo;
use crate::failure::{Failure, Result};
use crate::progress::Progress;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// A Hugging Face folder, a .gguf file, or a Hub id (org/name, org/name@revision).
    /// Absent: the embedded demo model.
    pub source: Option<String>,
    /// The model before its alignment, named likewise: loaded if a policy compares the two.
    pub base: Option<String>,
    /// Jinja file that replaces the model's own chat template.
    pub chat_template: Option<PathBuf>,
    /// cpu, cuda or cuda:N.
    pub device: String,
    /// Number format of the frozen weights; sums are f32 in both.
    pub dtype: WeightType,
}

/// Number format of the frozen weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightType {
    #[default]
    F32,
    Bf16,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            source: None,
            base: None,
            chat_template: None,
            device: "cpu".into(),
            dtype: WeightType::F32,
        }
    }
}

pub fn load_model(config: &ModelConfig, progress: &mut dyn Progress) -> Result<Model> {
    let source = match &config.source {
        Some(source) => Source::parse(source)?,
        None => Source::Embedded(demo::MODEL),
    };
    progress.stage(
        &format!("loading {}", config.source.as_deref().unwrap_or("the embedded demo model")),
        None,
    );
    let device = device(&config.device)?;
    let options = LoadOptions {
        device,
        dtype: match config.dtype {
            WeightType::F32 => DType::F32,
            WeightType::Bf16 => DType::BF16,
        },
        kernels: None,
        chat_template: config.chat_template.clone(),
        ..LoadOptions::default()
    };
    let model = host_model::load::load(&source, &options)?;
    model.notices.iter().for_each(|notice| progress.notice(notice));
    Ok(model)
}

fn device(name: &str) -> Result<Device> {
    let index = match name.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        None if name == "cuda" => Ok(0),
        Some(("cuda", index)) => index.parse::<usize>(),
        _ => {
            return Err(Failure::config(
                "model.device",
                format!("{name:?} is not a device; use cpu, cuda or cuda:N"),
            ));
        }
    };
    let index = index.map_err(|_| {
        Failure::config("model.device", format!("{name:?} names no CUDA device; use cuda:N"))
    })?;
    // What was compiled in, not what is there.
    if !candle_core::utils::cuda_is_available() {
        let problem =
            "this binary was built without CUDA; build it with --features cuda, or use cpu";
        return Err(Failure::config("model.device", problem));
    }
    Device::new_cuda(index).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Failure::Device { name: name.to_owned(), problem: first.to_owned() }
    })
}
