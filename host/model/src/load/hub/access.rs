//! How the Hub is reached: address, token, cache and patience.

use std::path::{Path, PathBuf};
use std::time::Duration;

use host_files::capped;

use super::client::Client;
use super::kind::Kind;
use crate::error::{Error, Result};
use host_web::Failure;

const ENDPOINT: &str = "https://huggingface.co";
const PATIENCE: Duration = Duration::from_secs(30);
/// A small public model, asked for to see whether anything answers.
const ASKED: &str = "HuggingFaceTB/SmolLM2-135M-Instruct";
/// A token has less than a hundred characters.
const LONGEST_TOKEN: u64 = 4096;

/// How to reach the Hub. [`HubAccess::from_env`] is what everything but a test uses.
#[derive(Debug, Clone, Default)]
pub struct HubAccess {
    /// Base URL; none means the public Hub.
    pub endpoint: Option<String>,
    /// Cache folder; none means `~/.cache/huggingface/hub`.
    pub cache: Option<PathBuf>,
    /// Token for private and gated models.
    pub token: Option<String>,
    /// Never touch the network; only what the cache holds.
    pub offline: bool,
    /// Longest wait for a connection, an answer, or more of it; none means half a minute.
    pub patience: Option<Duration>,
}

impl HubAccess {
    /// From the environment variables named in the module's documentation; the token may be the one that a login left.
    pub fn from_env() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_on =
            |v: String| ["1", "ON", "YES", "TRUE"].contains(&v.to_ascii_uppercase().as_str());
        let home = variable("HF_HOME").map(PathBuf::from).or_else(default_home);
        let login = || {
            let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
            read_token(&path.or_else(|| Some(home.as_ref()?.join("token")))?)
        };
        let seconds = variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.parse::<f64>().ok());
        let patience =
            seconds.filter(|it| (1.0..=3600.0).contains(it)).map(Duration::from_secs_f64);
        Self {
            endpoint: variable("HF_ENDPOINT"),
            token: variable("HF_TOKEN").or_else(login),
            cache: variable("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(home?.join("hub"))),
            offline: variable("HF_HUB_OFFLINE").is_some_and(is_on),
            patience,
        }
    }

    /// The folder in which models and data sets are kept.
    ///
    /// # Errors
    /// If there is no home folder and none is named.
    pub fn folder(&self) -> Result<PathBuf> {
        self.cache()
    }

    /// Asks whether the Hub answers, whatever it says, and gives its address.
    ///
    /// # Errors
    /// In words, why it can't be reached.
    pub fn reach(&self) -> std::result::Result<String, String> {
        let endpoint = self.endpoint.as_deref().unwrap_or(ENDPOINT);
        let asked = self.client().and_then(|client| client.describe(Kind::Model, ASKED, "main"));
        match asked {
            Ok(_) | Err(Failure::Status(..500)) => Ok(endpoint.to_owned()),
            Err(Failure::Status(status)) => Err(format!("{endpoint} answers with status {status}")),
            Err(Failure::Unreachable(why) | Failure::Untrusted(why)) => {
                Err(format!("{endpoint}: {why}"))
            }
            Err(Failure::Cache(error)) => Err(error.to_string()),
        }
    }

    /// Folder of the cache.
    pub(super) fn cache(&self) -> Result<PathBuf> {
        let default = || Some(default_home()?.join("hub"));
        let Some(folder) = self.cache.clone().or_else(default) else {
            return Err(Error::Source {
                source_name: "the Hub".into(),
                problem: "there is no home folder for the cache".into(),
                action: "point HF_HOME to a folder".into(),
            });
        };
        std::path::absolute(&folder).map_err(|e| Error::io(&folder, e))
    }

    /// A connection.
    pub(super) fn client(&self) -> std::result::Result<Client, Failure> {
        let endpoint = self.endpoint.as_deref().unwrap_or(ENDPOINT);
        Client::new(endpoint, self.token.as_deref(), self.patience.unwrap_or(PATIENCE))
    }
}

fn default_home() -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".cache/huggingface"))
}

/// The token that a login left, if there was one.
fn read_token(path: &Path) -> Option<String> {
    let text = capped::read_text(path, LONGEST_TOKEN).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}
