//! The trait that a policy implements.

use serde::de::DeserializeOwned;

use crate::bindings::{Assessment, Calibration, Examples, Needs, RunInfo, Signals};

/// A safety policy.
///
/// Each function is called in a fresh instance: nothing outlives a call but what
/// it returns. The associated constants are what `describe` answers.
pub trait Policy {
    /// The settings object, as serde reads it. Give every field a default
    /// (`#[serde(default)]` on the struct): absent keys must mean the defaults.
    type Settings: DeserializeOwned;

    /// Short, lower-case, words joined by `-`.
    const NAME: &str;
    /// Semantic version of the policy.
    const VERSION: &str;
    /// One sentence for a person.
    const SUMMARY: &str;
    /// JSON Schema (draft 2020-12) of the settings. Its `properties` are the keys
    /// that exist: any other key is refused before serde sees the settings.
    const SETTINGS_SCHEMA: &str;

    /// Checks the settings against the run and says what must be measured.
    ///
    /// The default asks for nothing. An error is for a person and names the
    /// setting; it stops the run before its first step.
    fn needs(settings: &Self::Settings, run: &RunInfo) -> Result<Needs, String> {
        let _ = (settings, run);
        Ok(Needs::new())
    }

    /// Fits the policy on labelled examples. Only called when the needs say
    /// [`Needs::calibrated`]; the default is therefore an error.
    fn calibrate(
        settings: &Self::Settings,
        run: &RunInfo,
        examples: &Examples,
    ) -> Result<Calibration, String> {
        let _ = (settings, run, examples);
        Err(format!("{} has nothing to calibrate: train with it directly", Self::NAME))
    }

    /// Assesses one optimizer step. An error stops the run before the update.
    fn assess(call: &Call<'_, Self::Settings>) -> Result<Assessment, String>;
}

/// The arguments of one `assess`.
pub struct Call<'a, S> {
    pub settings: &'a S,
    pub run: &'a RunInfo,
    /// What `calibrate` returned, else empty.
    pub parameters: &'a [u8],
    /// What the step before returned, empty at the first.
    pub state: &'a [u8],
    pub signals: &'a Signals,
}
