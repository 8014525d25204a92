//! The same KL weight for every sample of every step: the baseline that says what
//! an adaptive weight is worth.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    kl_weight: f64,
    task_weight: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { kl_weight: 0.25, task_weight: None }
    }
}

/// The host accepts weights up to this.
const LARGEST: f64 = 10.0;

impl Settings {
    /// Task and KL weight.
    fn weights(&self) -> Result<(f64, f64), String> {
        let in_range = |weight: f64| (0.0..=LARGEST).contains(&weight);
        if !in_range(self.kl_weight) {
            return Err(invalid("kl_weight", format!("{} is not in [0, 10]", self.kl_weight)));
        }
        let task = match self.task_weight {
            Some(weight) if in_range(weight) => weight,
            Some(weight) => {
                return Err(invalid("task_weight", format!("{weight} is not in [0, 10]")));
            }
            None if self.kl_weight <= 1.0 => 1.0 - self.kl_weight,
            None => {
                return Err(invalid(
                    "kl_weight",
                    format!(
                        "{} leaves no task weight 1 - kl_weight: set `task_weight`",
                        self.kl_weight
                    ),
                ));
            }
        };
        Ok((task, self.kl_weight))
    }
}

pub struct FixedKl;

impl Policy for FixedKl {
    type Settings = Settings;

    const NAME: &str = "fixed-kl";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "The same KL weight for every sample of every step.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.weights()?;
        Ok(Needs::new())
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let (task, kl) = call.settings.weights()?;
        let samples = call.signals.samples.len();
        Ok(Assessment::new(vec![0.0; samples], Regularization::constant(samples, task, kl)))
    }
}

risk_policy::export!(FixedKl);

#[cfg(test)]
mod tests;
