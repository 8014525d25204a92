//! Safe LoRA (arXiv 2405.16833): the adapter is projected onto what alignment changed in
//! the weights, matrix by matrix, wherever the two differ by too much.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    matrices: u32,
    threshold: Option<f64>,
    every: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { matrices: 10, threshold: None, every: 0 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        match self.threshold {
            Some(threshold) if !(-1.0..=1.0).contains(&threshold) => {
                Err(invalid("threshold", format!("{threshold} is not in [-1, 1]")))
            }
            None if self.matrices == 0 => {
                Err(invalid("matrices", "0 projects none: give at least 1, or a `threshold`"))
            }
            _ => Ok(()),
        }
    }

    /// At the last step, and after every so many steps before it if they are given.
    fn projects(&self, step: u64, total: u64) -> bool {
        let next = step + 1;
        next == total || (self.every > 0 && next.is_multiple_of(self.every))
    }
}

pub struct SafeLora;

impl Policy for SafeLora {
    type Settings = Settings;

    const NAME: &str = "safe-lora";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Plain fine-tuning whose adapter is projected onto what alignment changed.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(Needs::new().actuators(Actuators::ADAPTER_PROJECTION))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let samples = call.signals.samples.len();
        let mut regularization = Regularization::constant(samples, 1.0, 0.0);
        if settings.projects(call.signals.step, call.run.total_steps) {
            regularization.adapter_projection = settings.threshold;
            // A threshold takes the place of the number.
            regularization.adapter_projection_count =
                settings.threshold.is_none().then_some(settings.matrices);
        }
        Ok(Assessment::new(vec![0.0; samples], regularization))
    }
}

risk_policy::export!(SafeLora);

#[cfg(test)]
mod tests;
