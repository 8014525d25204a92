//! AsFT (arXiv 2506.08473): what of the adapter's update lies outside of what alignment changed
//! in the weights is pulled to 0 while the task is learned.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    lambda: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lambda: 1.0 }
    }
}

impl Settings {
    /// The host adds strength / 2 times the squared norm, the method lambda times it.
    fn strength(&self) -> Result<f64, String> {
        if !(self.lambda >= 0.0 && self.lambda.is_finite()) {
            return Err(invalid("lambda", format!("{} is below 0", self.lambda)));
        }
        Ok(2.0 * self.lambda)
    }
}

pub struct Asft;

impl Policy for Asft {
    type Settings = Settings;

    const NAME: &str = "asft";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Plain fine-tuning with the update outside of the alignment subspace pulled to 0.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.strength()?;
        Ok(Needs::new().actuators(Actuators::ALIGNMENT_COMPLEMENT))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let samples = call.signals.samples.len();
        let mut regularization = Regularization::constant(samples, 1.0, 0.0);
        regularization.alignment_complement = Some(call.settings.strength()?);
        Ok(Assessment::new(vec![0.0; samples], regularization))
    }
}

risk_policy::export!(Asft);

#[cfg(test)]
mod tests;
