//! `[trackers]`

use host_data::failure::{Failure as Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kinds::TensorBoardConfig;

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
}

impl Default for TrackersConfig {
    fn default() -> Self {
        Self { name: None, flush_seconds: 5.0, tensorboard: None }
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
        Ok(())
    }

    /// Before a run begins: whether each tracker may do what it is asked to.
    ///
    /// # Errors
    /// What nobody agreed to.
    pub fn ready(&self) -> Result<()> {
        self.tensorboard.iter().try_for_each(TensorBoardConfig::ready)
    }
}
