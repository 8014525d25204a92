//! The kinds of judges: `[judges.NAME]` with one key, which is the kind. A new kind is a file
//! beside this one, and a line of each list here.

mod classifier;
mod embedding;
mod endpoint;
mod guard;
pub(crate) mod local;
mod scores;

use std::path::PathBuf;

use host_data::failure::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Judge;
use classifier::Classifier;
use embedding::Embedding;
use endpoint::Endpoint;
use guard::Guard;
use scores::ScoreFile;

pub(crate) use embedding::Head;

pub use classifier::ClassifierConfig;
pub use embedding::EmbeddingConfig;
pub use endpoint::{Consent, EndpointConfig};
pub use guard::{Asks, GuardConfig};
pub use local::Reads;

/// A judge of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JudgeConfig {
    /// JSON Lines: the row's prompt and answer (or messages) and its score from 1 to 5.
    Scores(PathBuf),
    /// A language model behind an OpenAI-compatible endpoint.
    Endpoint(EndpointConfig),
    /// A BERT sequence classifier, run here.
    Classifier(ClassifierConfig),
    /// A sentence embedding model with a head from `host judge fit`, run here.
    Embedding(EmbeddingConfig),
    /// A language model that is asked whether an answer is safe, run here.
    Guard(GuardConfig),
}

impl JudgeConfig {
    /// # Errors
    /// The first key that is missing or out of range.
    pub fn check(&self, name: &str) -> Result<()> {
        match self {
            Self::Scores(_) => Ok(()),
            Self::Endpoint(config) => config.check(name),
            Self::Classifier(config) => config.check(name),
            Self::Embedding(config) => config.check(name),
            Self::Guard(config) => config.check(name),
        }
    }

    /// The judge, ready to be asked.
    ///
    /// # Errors
    /// If what it is made of can't be read.
    pub fn load(&self, name: &str) -> Result<Box<dyn Judge>> {
        Ok(match self {
            Self::Scores(path) => Box::new(ScoreFile::read(path)?),
            Self::Endpoint(config) => Box::new(Endpoint::new(name, config)?),
            Self::Classifier(config) => Box::new(Classifier::load(name, config)?),
            Self::Embedding(config) => Box::new(Embedding::load(config)?),
            Self::Guard(config) => Box::new(Guard::load(name, config)?),
        })
    }
}

#[cfg(test)]
mod local_tests;
