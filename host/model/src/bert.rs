//! BERT encoders, for judging texts: sentence embeddings, and [`Classifier`]s.
//!
//! A text is run alone, so its numbers don't depend on other texts. One that is too long for the model is read in windows, each with its own
//! result: nothing is cut off unseen.

mod classifier;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use serde_json::Value;
use tokenizers::TruncationParams;

use crate::error::{Error, Result};
use crate::load::{Part, model_digest, weight_files};
use crate::tokenizer::bounded::Bounded;
use crate::tokenizer::read_file;

pub use classifier::Classifier;

/// Beside a sentence embedding model; says how long its windows were in training.
const SENTENCE_CONFIG: &str = "sentence_bert_config.json";

/// A BERT encoder from a folder in the Hugging Face layout: config.json, model.safetensors, tokenizer.json.
pub struct Encoder {
    model: BertModel,
    tokenizer: Bounded,
    digest: String,
}

/// What a folder holds beside the encoder.
struct Parts {
    folder: PathBuf,
    config: Config,
    json: Value,
    weights: VarBuilder<'static>,
}

impl Encoder {
    /// # Errors
    /// If a file is missing or isn't what it should be, or if the model is no BERT.
    pub fn load(folder: &Path) -> Result<Self> {
        Ok(Self::with_parts(folder)?.0)
    }

    fn with_parts(folder: &Path) -> Result<(Self, Parts)> {
        let config_path = folder.join("config.json");
        let json = read_json(&config_path)?;
        let kind = json["model_type"].as_str().unwrap_or("no model type");
        if kind != "bert" {
            let problem = format!("is of a model of type {kind}, not of a bert");
            return Err(Error::file(config_path, problem, "give a BERT encoder"));
        }
        let config: Config = serde_json::from_value(json.clone()).map_err(|error| {
            let problem = format!("isn't the configuration of a BERT encoder ({error})");
            Error::file(&config_path, problem, "fetch the file again")
        })?;
        let tokenizer_path = folder.join("tokenizer.json");
        let mut tokenizer = read_file(&tokenizer_path)?;
        let windows =
            TruncationParams { max_length: window(folder, &config), ..TruncationParams::default() };
        let windows = tokenizer.with_truncation(Some(windows)).map(drop);
        windows.map_err(|error| Error::tokenizer(error.to_string(), "check config.json"))?;

        let files = weight_files(folder)?;
        let (mut tensors, device) = (std::collections::HashMap::new(), Device::Cpu);
        for file in &files {
            tensors.extend(candle_core::safetensors::load(file, &device)?);
        }
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &device);
        let model = BertModel::load(weights.clone(), &config)?;
        let named = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.into_owned()
        };
        let paths = [config_path, tokenizer_path].into_iter().chain(files);
        let paths: Vec<(String, PathBuf)> = paths.map(|path| (named(&path), path)).collect();
        let parts: Vec<Part> = paths.iter().map(|(name, path)| Part::File(name, path)).collect();
        let encoder = Self { model, tokenizer: tokenizer.into(), digest: model_digest(&parts)? };
        let folder = folder.to_owned();
        let parts = Parts { folder, config, json, weights };
        Ok((encoder, parts))
    }

    /// sha256 (hex) over the model's files.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Per window of the text: the mean of its tokens' final hidden states, of length 1.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the tokenizer can't represent the text.
    pub fn embed(&self, text: &str) -> Result<Vec<Vec<f32>>> {
        let embed = |hidden: Tensor| {
            let mean = hidden.mean(0)?;
            let length = mean.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?;
            Ok((mean / f64::from(length.max(f32::MIN_POSITIVE)))?.to_vec1()?)
        };
        self.hidden(text)?.into_iter().map(embed).collect()
    }

    /// Final hidden states per window of the text, each tokens x hidden.
    fn hidden(&self, text: &str) -> Result<Vec<Tensor>> {
        let encoding = self.tokenizer.encode(text, true).map_err(|error| {
            let problem = format!("can't encode a text: {error}");
            Error::tokenizer(problem, "check tokenizer.json")
        })?;
        let windows = std::iter::once(&encoding).chain(encoding.get_overflowing());
        let hidden = windows.map(|window| {
            let ids = Tensor::new(window.get_ids(), &self.model.device)?.unsqueeze(0)?;
            let hidden = self.model.forward(&ids, &ids.zeros_like()?, None)?;
            Ok(hidden.squeeze(0)?)
        });
        hidden.collect()
    }
}

/// Most tokens of one window: what the model was trained on, if that is known.
fn window(folder: &Path, config: &Config) -> usize {
    let trained = read_json(&folder.join(SENTENCE_CONFIG)).ok();
    let trained = trained.and_then(|json| json["max_seq_length"].as_u64());
    let most = config.max_position_embeddings;
    // Two special tokens and one of the text.
    trained.map_or(most, |trained| most.min(trained as usize)).max(3)
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = host_files::capped::read(path, crate::budget::CONFIG)
        .map_err(|error| Error::io(path, error))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let problem = format!("isn't valid JSON: {error}");
        Error::file(path, problem, "fetch the file again")
    })
}
