//! `[judges.NAME.endpoint]`

use std::path::PathBuf;

use host_data::failure::{Failure as Error, Result};
use host_web::is_loopback;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ureq::http::Uri;

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
    /// Message that the rubric is.
    pub rubric_role: RubricRole,
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
    /// Whether whoever started the command agreed; no file can say so.
    #[serde(skip)]
    #[schemars(skip)]
    pub consent: Consent,
}

/// Where the rubric stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RubricRole {
    /// In a system message of its own.
    #[default]
    System,
    /// At the beginning of the user's message, for models that take no system message.
    User,
}

/// Whether an endpoint may be asked. A configuration may come from anywhere, and it names where
/// conversations go, which variable of the environment goes with them, and which files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consent {
    /// Nobody has said so.
    #[default]
    Missing,
    /// The command line has.
    Given,
}

/// Names that hold secrets: in lower case, without what joins their words.
const SECRET_NAMES: [&str; 11] = [
    "apikey",
    "key",
    "token",
    "accesstoken",
    "authtoken",
    "auth",
    "authorization",
    "bearer",
    "password",
    "secret",
    "clientsecret",
];

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            key_variable: None,
            certificates: None,
            rubric: None,
            rubric_role: RubricRole::System,
            concurrency: 8,
            timeout_seconds: 60.0,
            retries: 6,
            retry_seconds: 120.0,
            max_tokens: 64,
            request: toml::Table::new(),
            consent: Consent::Missing,
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
        if self.url.contains(['?', '#']) {
            return wrong("url", "must end with its path; name what a service asks for in request");
        }
        let is_name = |name: &str| {
            let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            letters && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        if self.key_variable.as_deref().is_some_and(|name| !is_name(name)) {
            return wrong(
                "key_variable",
                "must name an environment variable; it isn't the key itself",
            );
        }
        if let Some(path) = secret(&self.request) {
            let problem = "would be written down with the run, in clear; leave it out, and name an \
                           environment variable in key_variable";
            return wrong(&format!("request.{path}"), problem);
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

    /// What goes where, as the command line agrees to it.
    pub fn word(&self) -> String {
        let mut word = self.url.clone();
        if let Some(variable) = &self.key_variable {
            word += &format!(" key={variable}");
        }
        let files = [("rubric", &self.rubric), ("certificates", &self.certificates)];
        for (name, file) in files {
            if let Some(file) = file {
                word += &format!(" {name}={file:?}");
            }
        }
        word
    }

    /// The flag that agrees, as a shell takes it.
    pub fn flag(&self) -> String {
        format!("--allow-endpoint {}", host_files::shell::quoted(&self.word()))
    }

    /// Whether its server is on this machine, and it is told nothing but conversations.
    pub fn stays_here(&self) -> bool {
        let secrets = [&self.rubric, &self.certificates].into_iter().any(Option::is_some);
        !secrets && self.key_variable.is_none() && self.url.parse().is_ok_and(|url| is_local(&url))
    }

    /// # Errors
    /// If nobody agreed to what this endpoint is told.
    pub(super) fn need_consent(&self, name: &str) -> Result<()> {
        if self.consent == Consent::Given {
            return Ok(());
        }
        let mut told = format!("conversations go to {}", self.url);
        if let Some(variable) = &self.key_variable {
            told += &format!(", the environment variable {variable} goes with them as key");
        }
        if let Some(file) = &self.rubric {
            told += &format!(", the file {} goes with them as rubric", file.display());
        }
        if let Some(file) = &self.certificates {
            told += &format!(", and {} says which servers to believe", file.display());
        }
        let problem = format!("a file says that {told}; if you want that, say so: {}", self.flag());
        Err(Error::config(format!("judges.{name}.endpoint"), problem))
    }
}

/// Whether what is sent there stays on this machine.
pub(super) fn is_local(url: &Uri) -> bool {
    url.host().is_some_and(is_loopback)
}

/// The path of a field that holds a secret by its name or its value.
fn secret(table: &toml::Table) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let plain = name.to_lowercase().replace(['-', '_', ' ', '.'], "");
        match value {
            toml::Value::Table(inner) => secret(inner).map(|path| format!("{name}.{path}")),
            toml::Value::String(text) => {
                let is_secret = SECRET_NAMES.contains(&plain.trim_start_matches("x"))
                    || ["sk-", "hf_", "Bearer "].iter().any(|start| text.starts_with(start));
                is_secret.then(|| name.clone())
            }
            toml::Value::Array(items) => items.iter().find_map(|item| {
                let inner = secret(item.as_table()?)?;
                Some(format!("{name}.{inner}"))
            }),
            _ => None,
        }
    })
}
