//! {{name}}: an answer that the safe reference finds surprising is risky.
//!
//! The surprise of a sample is its mean -ln P per answer token under the reference.
//! Its risk compares that with the usual surprise of the steps before. Change what you
//! like: the host only asks for the trait [`Policy`].

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

/// Every call gets the settings, and absent ones take these defaults.
#[derive(serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    b_max: f64,
    b_min: f64,
    memory: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            b_max: 0.9,
            b_min: 0.1,
            memory: 0.9,
        }
    }
}

/// A risk above this is worth a line in the run's records.
const WORTH_A_REASON: f64 = 0.8;

pub struct Surprise;

impl Policy for Surprise {
    type Settings = Settings;

    const NAME: &str = "{{name}}";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Answers that surprise the reference are held to it.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    /// Called before anything expensive: refuse bad settings here, by name.
    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        if !(0.0..=1.0).contains(&settings.b_max) {
            return Err(invalid("b_max", "must be a number from 0 to 1"));
        }
        if !(0.0..=settings.b_max).contains(&settings.b_min) {
            return Err(invalid("b_min", "must be a number from 0 to `b_max`"));
        }
        if !(0.0..1.0).contains(&settings.memory) {
            return Err(invalid("memory", "must be a number from 0 to below 1"));
        }
        Ok(Needs::new().tokens(TokenNeeds::REFERENCE))
    }

    /// Called once per optimizer step, over all its samples.
    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        let surprise = surprises(call.signals)?;
        let samples = surprise.len() as f64;
        let mean = surprise.iter().fold(0.0, |sum, one| sum + one / samples);
        // Broken measurements are refused, which ends the run: they are no low risk.
        if !mean.is_finite() {
            return Err("a log-probability of the reference is not finite".to_string());
        }
        let usual = state(call.state)?.unwrap_or(mean);

        // Risk 0.5 is the usual surprise.
        let risk: Vec<f64> = surprise
            .iter()
            .map(|one| {
                let total = one * one + usual * usual;
                if total > 0.0 { one * one / total } else { 0.0 }
            })
            .collect();
        let held = Regularization::affine(&risk, settings.b_min, settings.b_max);
        let kept = settings.memory * usual + (1.0 - settings.memory) * mean;

        let mut assessment = Assessment::new(risk.clone(), held)
            .metric("surprise.mean", mean)
            .metric("surprise.usual", usual)
            .state(kept.to_le_bytes().to_vec());
        for (sample, risk) in risk.iter().enumerate() {
            if *risk > WORTH_A_REASON {
                let message = "far less likely under the reference than usual";
                assessment = assessment.sample_reason(sample, "surprising", message.to_string());
            }
        }
        Ok(assessment)
    }
}

/// Sample i owns the log-probabilities offsets[i] to offsets[i + 1].
fn surprises(signals: &Signals) -> Result<Vec<f64>, String> {
    let tokens = signals
        .tokens
        .as_ref()
        .ok_or("the host delivered no tokens")?;
    let surprise = |ends: &[u32]| {
        let range = ends[0] as usize..ends[1] as usize;
        let answer = tokens
            .reference
            .get(range)
            .ok_or("the log-probabilities end too early")?;
        let sum = answer.iter().fold(0.0, |sum, ln_p| sum - f64::from(*ln_p));
        Ok(if answer.is_empty() {
            0.0
        } else {
            sum / answer.len() as f64
        })
    };
    tokens.offsets.windows(2).map(surprise).collect()
}

/// The state is what `assess` returned at the step before: one number.
fn state(bytes: &[u8]) -> Result<Option<f64>, String> {
    match bytes {
        [] => Ok(None),
        _ => bytes
            .try_into()
            .map(|bytes| Some(f64::from_le_bytes(bytes)))
            .map_err(|_| "the state is not one of {{name}}: it must have 8 bytes".to_string()),
    }
}

risk_policy::export!(Surprise);

#[cfg(test)]
mod tests;
