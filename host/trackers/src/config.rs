//! `[trackers]`

use host_data::failure::{Failure as Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kinds::{MlflowConfig, OtlpConfig, TensorBoardConfig, WebhookConfig};
use crate::web::{Address, Client};

/// Longest wait that a configuration may ask for at the end, in seconds.
const LONGEST_FLUSH: f64 = 600.0;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrackersConfig {
    /// Name of the run, as trackers show it. Default: that of its folder.
    pub name: Option<String>,
    /// How long a run waits at its end for what trackers haven't delivered.
    pub flush_seconds: f64,
    /// Event files for TensorBoard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensorboard: Option<TensorBoardConfig>,
    /// Runs of an experiment on an MLflow server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<MlflowConfig>,
    /// Metrics and a trace for an OpenTelemetry collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpConfig>,
    /// A message at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConfig>,
}

/// A server that is told of a run, for whoever says that it may be.
pub struct Asked<'a> {
    /// Its table in `[trackers]`.
    pub kind: &'static str,
    /// Keys that say what goes where, with their values.
    pub keys: Vec<(&'static str, String)>,
    /// What the command line agrees to.
    pub word: String,
    /// Whether a file of one's own may name it alone.
    pub stays_here: bool,
    pub agreed: &'a mut bool,
}

impl Default for TrackersConfig {
    fn default() -> Self {
        Self {
            name: None,
            flush_seconds: 5.0,
            tensorboard: None,
            mlflow: None,
            otlp: None,
            webhook: None,
        }
    }
}

impl TrackersConfig {
    /// Whether nothing is said, so that nothing need be written down.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// # Errors
    /// The first key that is out of range.
    pub fn check(&self) -> Result<()> {
        if !(self.flush_seconds >= 0.0 && self.flush_seconds <= LONGEST_FLUSH) {
            let problem = format!("must be in [0, {LONGEST_FLUSH}]");
            return Err(Error::config("trackers.flush_seconds", problem));
        }
        if self.name.as_ref().is_some_and(|name| name.trim().is_empty() || name.len() > 200) {
            let problem = "must have 1 to 200 bytes; leave it out for the name of the run's folder";
            return Err(Error::config("trackers.name", problem));
        }
        self.mlflow.iter().try_for_each(MlflowConfig::check)?;
        self.otlp.iter().try_for_each(OtlpConfig::check)?;
        self.webhook.iter().try_for_each(WebhookConfig::check)
    }

    /// Before a run begins: whether each tracker may do what it is asked to.
    ///
    /// # Errors
    /// What nobody agreed to.
    pub fn ready(&self) -> Result<()> {
        self.tensorboard.iter().try_for_each(TensorBoardConfig::ready)?;
        let mlflow = self.mlflow.iter().map(MlflowConfig::address);
        let otlp = self.otlp.iter().map(OtlpConfig::address);
        mlflow.chain(otlp).try_for_each(|address| Client::new(&address).map(|_| ()))?;
        self.webhook.iter().try_for_each(WebhookConfig::ready)
    }

    /// The servers that are told.
    pub fn asked(&mut self) -> Vec<Asked<'_>> {
        let mut asked = Vec::new();
        if let Some(config) = &mut self.mlflow {
            let (keys, word, stays_here) = by(&config.address());
            let agreed = &mut config.agreed;
            asked.push(Asked { kind: "mlflow", keys, word, stays_here, agreed });
        }
        if let Some(config) = &mut self.otlp {
            let (keys, word, stays_here) = by(&config.address());
            let agreed = &mut config.agreed;
            asked.push(Asked { kind: "otlp", keys, word, stays_here, agreed });
        }
        if let Some(config) = &mut self.webhook
            && let Some(word) = config.word()
        {
            let keys = [("url", &config.url), ("url_variable", &config.url_variable)];
            let keys = keys.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
            let (keys, stays_here) = (keys.collect(), config.stays_here());
            asked.push(Asked {
                kind: "webhook",
                keys,
                word,
                stays_here,
                agreed: &mut config.agreed,
            });
        }
        asked
    }
}

/// What [`Asked`] says of an address.
fn by(address: &Address) -> (Vec<(&'static str, String)>, String, bool) {
    let mut keys = vec![("url", address.url.to_owned())];
    keys.extend(address.token_variable.map(|variable| ("token_variable", variable.to_owned())));
    let certificates = address.certificates.map(|file| file.to_string_lossy().into_owned());
    keys.extend(certificates.map(|file| ("certificates", file)));
    (keys, address.word(), address.stays_here())
}
