//! PACT (arXiv 2603.07445): at every answer position the model's distribution over a few
//! safety tokens is held to the reference's; all other tokens are free.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    kl_weight: f64,
    tokens: u32,
    temperature: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { kl_weight: 1.0, tokens: 50, temperature: 2.0 }
    }
}

impl Settings {
    fn check(&self, run: &RunInfo) -> Result<(), String> {
        if !(0.0..=10.0).contains(&self.kl_weight) {
            return Err(invalid("kl_weight", format!("{} is not in [0, 10]", self.kl_weight)));
        }
        let most = run.vocabulary.min(4096);
        if !(2..=most).contains(&self.tokens) {
            return Err(invalid("tokens", format!("{} is not in [2, {most}]", self.tokens)));
        }
        if !(0.1..=10.0).contains(&self.temperature) {
            let what = format!("{} is not in [0.1, 10]", self.temperature);
            return Err(invalid("temperature", what));
        }
        Ok(())
    }
}

pub struct Pact;

impl Policy for Pact {
    type Settings = Settings;

    const NAME: &str = "pact";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Plain fine-tuning with the safety tokens of every answer position held to the reference.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.check(run)?;
        Ok(Needs::new().token_set(settings.tokens, settings.temperature))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check(call.run)?;
        let samples = call.signals.samples.len();
        let mut regularization = Regularization::constant(samples, 1.0, settings.kl_weight);
        regularization.divergence = Divergence::TokenSetKl;
        Ok(Assessment::new(vec![0.0; samples], regularization))
    }
}

risk_policy::export!(Pact);

#[cfg(test)]
mod tests;
