//! The exponential moving average of the parameters (arXiv 2508.12531): a slower path
//! through parameter space, which stays nearer to the model that training began with.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

/// What the average is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Shadow,
    InPath,
}

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    decay: f64,
    mode: Mode,
}

impl Default for Settings {
    fn default() -> Self {
        Self { decay: 0.9, mode: Mode::Shadow }
    }
}

impl Settings {
    fn ema(&self) -> Result<Ema, String> {
        if !(0.0..1.0).contains(&self.decay) {
            return Err(invalid("decay", format!("{} is not in [0, 1)", self.decay)));
        }
        Ok(Ema { decay: self.decay, in_path: self.mode == Mode::InPath })
    }
}

pub struct Average;

impl Policy for Average {
    type Settings = Settings;

    const NAME: &str = "ema";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Plain fine-tuning that keeps an exponential moving average of the parameters.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.ema()?;
        Ok(Needs::new().actuators(Actuators::EMA))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let samples = call.signals.samples.len();
        let mut regularization = Regularization::constant(samples, 1.0, 0.0);
        regularization.ema = Some(call.settings.ema()?);
        Ok(Assessment::new(vec![0.0; samples], regularization))
    }
}

risk_policy::export!(Average);

#[cfg(test)]
mod tests;
