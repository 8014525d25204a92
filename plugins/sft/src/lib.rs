//! Plain supervised fine-tuning: task weight 1, KL weight 0, whatever comes.
//!
//! A run with this policy is the same, bit for bit, as a run without any. It is
//! the baseline that every other policy is compared with.

use risk_policy::prelude::*;

/// There are none.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub struct Settings {}

pub struct Sft;

impl Policy for Sft {
    type Settings = Settings;

    const NAME: &str = "sft";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Plain fine-tuning: task weight 1, KL weight 0, no reference needed.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let samples = call.signals.samples.len();
        Ok(Assessment::new(vec![0.0; samples], Regularization::constant(samples, 1.0, 0.0)))
    }
}

risk_policy::export!(Sft);

#[cfg(test)]
mod tests;
