//! A KL weight that is steered towards a given KL, by the proportional controller
//! that is usual in fine-tuning with rewards: b <- b * (1 + g * e), with the relative
//! error e = clamp((KL - T) / T, -clip, clip) of the step before.

use risk_policy::bytes::{Reader, Writer};
use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    target: f64,
    kl_weight: f64,
    gain: f64,
    clip: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { target: 0.1, kl_weight: 0.2, gain: 0.1, clip: 0.2 }
    }
}

/// A weight of 0 would end the measurement of the KL, and with it the control; the
/// host takes none above 10.
const SMALLEST: f64 = 1e-3;
const LARGEST: f64 = 10.0;

const KIND: [u8; 4] = *b"TGKL";
const VERSION: u16 = 1;

impl Settings {
    fn check(&self) -> Result<(), String> {
        if !(self.target > 0.0 && self.target.is_finite()) {
            return Err(invalid("target", format!("{} is not above 0", self.target)));
        }
        if !(SMALLEST..=LARGEST).contains(&self.kl_weight) {
            let what = format!("{} is not in [0.001, 10]", self.kl_weight);
            return Err(invalid("kl_weight", what));
        }
        if !(0.0..=1.0).contains(&self.gain) {
            return Err(invalid("gain", format!("{} is not in [0, 1]", self.gain)));
        }
        if !(0.0..1.0).contains(&self.clip) {
            return Err(invalid("clip", format!("{} is not in [0, 1)", self.clip)));
        }
        Ok(())
    }

    /// The next weight, after a step whose mean KL was `kl`.
    fn controlled(&self, weight: f64, kl: f64) -> f64 {
        let error = ((kl - self.target) / self.target).clamp(-self.clip, self.clip);
        (weight * (1.0 + self.gain * error)).clamp(SMALLEST, LARGEST)
    }
}

pub struct TargetKl;

impl Policy for TargetKl {
    type Settings = Settings;

    const NAME: &str = "target-kl";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "A KL weight that grows while the KL is above a target and shrinks below it.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(Needs::new())
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        call.settings.check()?;
        let before = weight(call)?;
        let measured = call.signals.previous.as_ref().and_then(|step| step.kl);
        let weight = match measured {
            Some(kl) if kl.is_finite() => call.settings.controlled(before, kl),
            Some(kl) => return Err(format!("the KL of the step before is {kl}, not a number")),
            None => before,
        };
        let samples = call.signals.samples.len();
        let regularization = Regularization::constant(samples, 1.0, weight);
        Ok(Assessment::new(vec![0.0; samples], regularization)
            .metric("kl_weight", weight)
            .state(Writer::new(KIND, VERSION).f64(weight).finish()))
    }
}

/// The weight of the step before, or the one to begin with.
fn weight(call: &Call<'_, Settings>) -> Result<f64, String> {
    if call.state.is_empty() {
        return Ok(call.settings.kl_weight);
    }
    let mut reader = Reader::open(call.state, KIND, VERSION, "state bytes")?;
    let weight = reader.f64()?;
    reader.finish()?;
    if !(SMALLEST..=LARGEST).contains(&weight) {
        return Err(format!("the state bytes hold a KL weight of {weight}, not in [0.001, 10]"));
    }
    Ok(weight)
}

risk_policy::export!(TargetKl);

#[cfg(test)]
mod tests;
