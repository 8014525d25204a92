//! Plain fine-tuning with a share of alignment data in every step.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    share: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { share: 0.1 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        if !(self.share > 0.0 && self.share < 1.0) {
            let what = format!("{} is not above 0 and below 1", self.share);
            return Err(invalid("share", what));
        }
        Ok(())
    }
}

pub struct SafeMix;

impl Policy for SafeMix {
    type Settings = Settings;

    const NAME: &str = "safe-mix";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Plain fine-tuning with a share of alignment data in every step.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(Needs::new().actuators(Actuators::ALIGNMENT_SHARE))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        call.settings.check()?;
        let samples = &call.signals.samples;
        let mut regularization = Regularization::constant(samples.len(), 1.0, 0.0);
        regularization.alignment_share = Some(call.settings.share);
        Ok(Assessment::new(vec![0.0; samples.len()], regularization))
    }
}

risk_policy::export!(SafeMix);

#[cfg(test)]
mod tests;
