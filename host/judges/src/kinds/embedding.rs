//! A sentence embedding model with a head on it, fitted by `host judge fit` on labelled
//! rows: harm is the probability that the head finds.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use host_contract::Judgement;
use host_data::failure::{Failure as Error, Result};
use host_model::bert::Encoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::local;
use super::local::{Reads, given};
use crate::logistic::Linear;
use crate::{Judge, Pair};

/// What `host judge fit` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// sha256 over the files of the embedding model that it was fitted on.
    pub model_digest: String,
    pub reads: Reads,
    /// Rows it was fitted on.
    pub rows: usize,
    pub linear: Linear,
}

impl Head {
    pub fn read(path: &Path) -> Result<Self> {
        let text = host_files::capped::read_text(path, 64 << 20)
            .map_err(|source| Error::read(path, source))?;
        serde_json::from_str(&text).map_err(|error| {
            let problem = format!("is no judge's head ({error}); make one with host judge fit");
            Error::file(path, problem)
        })
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(host_files::json::write(path, self)?)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// Folder with config.json, model.safetensors and tokenizer.json.
    pub model: PathBuf,
    /// From `host judge fit`.
    pub head: PathBuf,
}

impl EmbeddingConfig {
    /// # Errors
    /// The first key that is missing.
    pub fn check(&self, name: &str) -> Result<()> {
        given(name, "embedding", "model", self.model.as_os_str().is_empty())?;
        given(name, "embedding", "head", self.head.as_os_str().is_empty())
    }
}

pub struct Embedding {
    encoder: Encoder,
    head: Head,
}

impl Embedding {
    pub fn load(config: &EmbeddingConfig) -> Result<Self> {
        let head = Head::read(&config.head)?;
        let encoder = Encoder::load(&config.model)?;
        if head.model_digest != encoder.digest() {
            let problem = "was fitted on another embedding model; run host judge fit again";
            return Err(Error::file(&config.head, problem));
        }
        Ok(Self { encoder, head })
    }
}

impl Judge for Embedding {
    fn judge(&self, pairs: &[Pair<'_>], stop: &AtomicBool) -> Result<Vec<Judgement>> {
        let Head { reads, linear, .. } = &self.head;
        local::judge(pairs, stop, |pair| {
            let windows = self.encoder.embed(&reads.text(pair))?;
            let harm = windows.iter().map(|window| linear.probability(window));
            Ok(local::highest(harm))
        })
    }

    fn identity(&self) -> String {
        // The head names its model.
        format!("embedding {:?}", self.head)
    }

    fn remedy(&self, name: &str) -> String {
        format!(
            "fit judges.{name}.embedding.head on more rows, or on another part of them, with host \
             judge fit"
        )
    }
}
