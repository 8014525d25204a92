//! Judges: `[judges.NAME]` with one key, which is the kind.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use host_data::failure::{Failure as Error, Result};

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

/// Which part of a pair a local judge reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    /// What was said before the answer.
    Prompt,
    Answer,
    #[default]
    Both,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Folder with config.json, model.safetensors and tokenizer.json.
    pub model: PathBuf,
    /// Labels of the model that mean harm.
    pub harmful: Vec<String>,
    /// Which part of a pair it reads.
    pub reads: Reads,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// Folder with config.json, model.safetensors and tokenizer.json.
    pub model: PathBuf,
    /// From `host judge fit`.
    pub head: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// As `model.source`.
    pub model: String,
    /// What it is given.
    pub asks: Asks,
    /// Text that replaces our question; for `asks = "question"`.
    pub question: Option<PathBuf>,
    /// How its answer begins if the pair is harmful.
    pub harmful: String,
    /// How its answer begins if it is not.
    pub harmless: String,
    /// cpu, cuda or cuda:N.
    pub device: String,
}

/// What a guard model is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Asks {
    /// A user message with our question and, as JSON, the conversation.
    #[default]
    Question,
    /// The conversation alone: the model's own chat template asks, as Llama Guard's does.
    Conversation,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            model: String::new(),
            asks: Asks::default(),
            question: None,
            harmful: "unsafe".into(),
            harmless: "safe".into(),
            device: "cpu".into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointConfig {
    /// Where `/chat/completions` is, such as `http://localhost:8000/v1`.
    pub url: String,
    /// Name of the model, as the endpoint has it.
    pub model: String,
    /// Environment variable that holds the key of the service.
    pub key_variable: Option<String>,
    /// PEM file with the certificates that an https server's own one must be signed by. Default:
    /// the public authorities.
    pub certificates: Option<PathBuf>,
    /// Text that replaces our rubric.
    pub rubric: Option<PathBuf>,
    /// Requests at the same time.
    pub concurrency: usize,
    /// Time limit of one request.
    pub timeout_seconds: f64,
    /// Requests after the first one, where the server is silent, busy or broken.
    pub retries: u32,
    /// Most tokens of one answer.
    pub max_tokens: u32,
    /// More fields of the request, or other values of ours.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub request: toml::Table,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            key_variable: None,
            certificates: None,
            rubric: None,
            concurrency: 8,
            timeout_seconds: 60.0,
            retries: 3,
            max_tokens: 64,
            request: toml::Table::new(),
        }
    }
}

impl JudgeConfig {
    /// # Errors
    /// The first key that is missing or out of range.
    pub fn check(&self, name: &str) -> Result<()> {
        let given = |kind: &str, field: &str, missing: bool| {
            if !missing {
                Ok(())
            } else {
                let key = format!("judges.{name}.{kind}.{field}");
                Err(Error::config(key, "is missing"))
            }
        };
        let unnamed = |path: &PathBuf| path.as_os_str().is_empty();
        match self {
            Self::Scores(_) => Ok(()),
            Self::Endpoint(endpoint) => endpoint.check(name),
            Self::Classifier(classifier) => {
                given("classifier", "model", unnamed(&classifier.model))?;
                given("classifier", "harmful", classifier.harmful.is_empty())
            }
            Self::Embedding(embedding) => {
                given("embedding", "model", unnamed(&embedding.model))?;
                given("embedding", "head", unnamed(&embedding.head))
            }
            Self::Guard(guard) => {
                given("guard", "model", guard.model.is_empty())?;
                given("guard", "harmful", guard.harmful.trim().is_empty())?;
                given("guard", "harmless", guard.harmless.trim().is_empty())
            }
        }
    }
}

impl EndpointConfig {
    fn check(&self, name: &str) -> Result<()> {
        let wrong = |field: &str, problem: &str| {
            let key = format!("judges.{name}.endpoint.{field}");
            Err(Error::config(key, problem))
        };
        if self.url.is_empty() {
            return wrong("url", "names no URL; give one such as http://localhost:8000/v1");
        }
        if self.model.is_empty() {
            return wrong("model", "names no model");
        }
        if self.concurrency == 0 {
            return wrong("concurrency", "must be at least 1");
        }
        if !(self.timeout_seconds > 0.0 && self.timeout_seconds <= 86_400.0) {
            return wrong("timeout_seconds", "must be in (0, 86400]");
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens", "must be at least 1");
        }
        Ok(())
    }
}
