//! SPPFT (arXiv 2408.17003): the decoder blocks that tell harmful prompts from harmless ones
//! are frozen, the others learn the task.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    first: Option<u32>,
    last: Option<u32>,
    scale: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { first: None, last: None, scale: 0.0 }
    }
}

impl Settings {
    /// Per decoder block, what is left of its update.
    fn scales(&self, run: &RunInfo) -> Result<Vec<f64>, String> {
        if !(0.0..=1.0).contains(&self.scale) {
            return Err(invalid("scale", format!("{} is not in [0, 1]", self.scale)));
        }
        let first = self.first.unwrap_or(run.layers / 4 + 1);
        let last = self.last.unwrap_or((run.layers / 2).max(first));
        let blocks = format!("this model has blocks 1 to {}", run.layers);
        if !(1..=run.layers).contains(&first) {
            return Err(invalid("first", format!("there is no block {first}: {blocks}")));
        }
        if !(first..=run.layers).contains(&last) {
            let what = format!("{last} is not from `first`, {first}, on: {blocks}");
            return Err(invalid("last", what));
        }
        if last - first + 1 == run.layers && self.scale == 0.0 {
            return Err(invalid("last", "every block is frozen, so nothing is left to learn"));
        }
        let scale = |block| if (first..=last).contains(&block) { self.scale } else { 1.0 };
        Ok((1..=run.layers).map(scale).collect())
    }
}

pub struct Sppft;

impl Policy for Sppft {
    type Settings = Settings;

    const NAME: &str = "sppft";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Plain fine-tuning with the safety layers frozen.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.scales(run)?;
        Ok(Needs::new().actuators(Actuators::LAYER_SCALE))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let samples = call.signals.samples.len();
        let mut regularization = Regularization::constant(samples, 1.0, 0.0);
        regularization.layer_scale = Some(call.settings.scales(call.run)?);
        Ok(Assessment::new(vec![0.0; samples], regularization))
    }
}

risk_policy::export!(Sppft);

#[cfg(test)]
mod tests;
