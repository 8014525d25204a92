//! `[model]`: which model a configuration names, and where it runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Device};
use host_model::load::{Held, LoadOptions, Source};
use host_model::{BlockFormat, Model, Moment, TemplateOptions};
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
    /// An adapter in peft's format that is merged into the model when it is loaded: the
    /// reference, and all that is compared with, is the model with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// Under which name others find the model: a Hub id (org/name, org/name@revision), or a
    /// Hugging Face folder. Adapters name it as their base. Absent: the id of a model that
    /// came from the Hub, and for others the name of the file or folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_name: Option<String>,
    /// Jinja file that replaces the model's own chat template.
    pub chat_template: Option<PathBuf>,
    /// Which of the model's own chat templates, where it has several by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template_name: Option<String>,
    /// The date that a chat template shows: 2026-11-28, or 2026-11-28T08:30:00. Absent:
    /// the day on which the run begins, which its config.toml then has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_date: Option<String>,
    /// cpu, cuda or cuda:N.
    pub device: String,
    /// Number format that the model computes in; sums are f32 in all. bf16x3 is f32 multiplied in
    /// three products of bf16, nearly as exact, on processors with AMX; on others it is f32.
    pub dtype: WeightType,
    /// How the frozen matrices are held in memory.
    pub weights: HeldWeights,
    /// Variables of the chat template, such as enable_thinking; those of a row
    /// (chat_template_kwargs) win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub template_arguments: BTreeMap<String, serde_json::Value>,
}

/// Number format that the model computes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightType {
    #[default]
    F32,
    Bf16,
    Bf16x3,
}

/// How the frozen matrices are held in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeldWeights {
    /// Every value in model.dtype.
    #[default]
    Dense,
    /// Quantized matrices of a .gguf file stay as they are, and are widened to model.dtype
    /// where they are multiplied: the same results from less memory.
    Stored,
    /// Rounded to 8.5 bits a value while they are loaded.
    #[serde(rename = "q8_0")]
    Q8,
    /// To 6.6 bits.
    #[serde(rename = "q6_k")]
    Q6,
    /// To 5.5 bits.
    #[serde(rename = "q5_k")]
    Q5,
    /// To 4.5 bits.
    #[serde(rename = "q4_k")]
    Q4,
}

impl HeldWeights {
    fn held(self) -> Held {
        match self {
            Self::Dense => Held::Dense,
            Self::Stored => Held::Stored,
            Self::Q8 => Held::Blocks(BlockFormat::Q8_0),
            Self::Q6 => Held::Blocks(BlockFormat::Q6K),
            Self::Q5 => Held::Blocks(BlockFormat::Q5K),
            Self::Q4 => Held::Blocks(BlockFormat::Q4K),
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            source: None,
            base: None,
            adapter: None,
            base_name: None,
            chat_template: None,
            chat_template_name: None,
            template_date: None,
            device: "cpu".into(),
            dtype: WeightType::F32,
            weights: HeldWeights::Dense,
            template_arguments: BTreeMap::new(),
        }
    }
}

pub fn load_model(config: &ModelConfig, progress: &mut dyn Progress) -> Result<Model> {
    let published = config.published()?;
    let source = match &config.source {
        Some(source) => Source::parse(source)?,
        None => Source::Embedded(demo::MODEL),
    };
    progress.stage(
        &format!("loading {}", config.source.as_deref().unwrap_or("the embedded demo model")),
        None,
    );
    let device = device(&config.device)?;
    let as_f32 = config.prepare()?;
    let options = LoadOptions {
        device,
        dtype: match config.dtype {
            WeightType::F32 | WeightType::Bf16x3 => DType::F32,
            WeightType::Bf16 => DType::BF16,
        },
        held: config.weights.held(),
        kernels: None,
        chat_template: config.chat_template.clone(),
        template: config.template_options()?,
        ..LoadOptions::default()
    };
    let mut model = host_model::load::load(&source, &options)?;
    model.notices.extend(as_f32);
    model.notices.iter().for_each(|notice| progress.notice(notice));
    if let (None, Some(date)) = (&config.template_date, model.tokenizer.template_moment()) {
        progress.notice(&format!(
            "the chat template shows the date: it is {date}; set model.template_date for another"
        ));
    }
    if let Some(folder) = &config.adapter {
        model = model.with_adapter(folder)?;
        progress.notice(&format!(
            "the adapter {} is merged into the model: the model without another adapter, the reference, is \
             the model with this one",
            folder.display()
        ));
    }
    model.published = published.or(model.published);
    for name in config.template_arguments.keys() {
        if !model.tokenizer.template_reads(name) {
            progress.notice(&format!(
                "model.template_arguments.{name} isn't read by the chat template of this model"
            ));
        }
    }
    Ok(model)
}

impl ModelConfig {
    /// Has f32 multiplied as dtype says, in this process: to be called before anything is computed or a cache is
    /// opened whose name tells how. Says so where it can't be done.
    ///
    /// # Errors
    /// A dtype that the device doesn't have.
    pub fn prepare(&self) -> Result<Option<String>> {
        if self.dtype != WeightType::Bf16x3 {
            return Ok(None);
        }
        if !device(&self.device)?.is_cpu() {
            let problem = "bf16x3 is a way of the CPU's kernels; use f32 or bf16 on this device";
            return Err(Failure::config("model.dtype", problem));
        }
        let told = "model.dtype = bf16x3 is computed as f32, which is more exact: there are no matrix registers (AMX) that \
                    this process can use";
        Ok((!host_model::split_floats()).then(|| told.to_owned()))
    }

    /// The name that was given for others, which must be one that peft finds a model by.
    fn published(&self) -> Result<Option<String>> {
        let Some(name) = &self.base_name else { return Ok(None) };
        match Source::parse(name) {
            Ok(Source::Hub { .. }) => Ok(Some(name.clone())),
            Ok(Source::Directory(folder)) if folder.join("config.json").is_file() => {
                Ok(Some(name.clone()))
            }
            _ => Err(Failure::config(
                "model.base_name",
                format!(
                    "{name:?} is no Hub id and no Hugging Face folder; write ORG/NAME, or ORG/NAME@REVISION"
                ),
            )),
        }
    }

    fn template_options(&self) -> Result<TemplateOptions> {
        let date = |text: &String| {
            Moment::parse(text).ok_or_else(|| {
                let problem =
                    format!("{text:?} is no date; write 2026-11-28 or 2026-11-28T08:30:00");
                Failure::config("model.template_date", problem)
            })
        };
        Ok(TemplateOptions {
            name: self.chat_template_name.clone().filter(|_| self.chat_template.is_none()),
            arguments: self.template_arguments.clone(),
            date: self.template_date.as_ref().map(date).transpose()?,
        })
    }
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
