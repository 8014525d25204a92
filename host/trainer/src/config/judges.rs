//! Judges: `[judges.NAME]` with one key, which is the kind.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A judge of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JudgeConfig {
    /// JSON Lines: the row's prompt and answer (or messages) and its score from 1 to 5.
    Scores(PathBuf),
    /// A language model behind an OpenAI-compatible endpoint.
    Endpoint(EndpointConfig),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointConfig {
    /// Where `/chat/completions` is, such as `http://localhost:8000/v1`.
    pub url: String,
    pub model: String,
    /// Environment variable that holds the key of the service.
    pub key_variable: Option<String>,
    /// Text that replaces our rubric.
    pub rubric: Option<PathBuf>,
    /// Requests at the same time.
    pub concurrency: usize,
    /// Of one request.
    pub timeout_seconds: f64,
    /// Requests after the first one, where the server is silent, busy or broken.
    pub retries: u32,
    pub max_tokens: u32,
    /// More fields of the request, or other values of ours.
    pub request: toml::Table,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            key_variable: None,
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
    pub(super) fn check(&self, name: &str) -> Result<()> {
        match self {
            Self::Scores(_) => Ok(()),
            Self::Endpoint(endpoint) => endpoint.check(name),
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
            return wrong(
                "url",
                "names no URL; give one such as http://localhost:8000/v1",
            );
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
