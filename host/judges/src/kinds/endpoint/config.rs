//! `[judges.NAME.endpoint]`

use std::path::PathBuf;

use host_data::failure::{Failure as Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointConfig {
    /// Where `/chat/completions` is, such as `http://localhost:8000/v1`; may end with it.
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
    /// Longest time for one judgement with all its requests and waits, in seconds.
    pub retry_seconds: f64,
    /// Most tokens of one answer.
    pub max_tokens: u32,
    /// More fields of the request, or other values of ours; `false` leaves out `max_tokens` or
    /// `temperature`.
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
            retries: 6,
            retry_seconds: 120.0,
            max_tokens: 64,
            request: toml::Table::new(),
        }
    }
}

impl EndpointConfig {
    /// # Errors
    /// The first key that is missing or out of range.
    pub fn check(&self, name: &str) -> Result<()> {
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
        if !(self.retry_seconds >= 0.0 && self.retry_seconds <= 86_400.0) {
            return wrong("retry_seconds", "must be in [0, 86400]");
        }
        if self.request.get("stream").is_some_and(|value| value.as_bool() == Some(true)) {
            return wrong("request.stream", "must not be true; a reply is read as a whole");
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens", "must be at least 1");
        }
        Ok(())
    }
}
