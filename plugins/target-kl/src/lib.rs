//! Safety anchors whose weight is steered towards a given KL, by the proportional controller
//! that is usual in fine-tuning with rewards: b <- b * (1 + g * e), with the relative
//! error e = clamp((KL - T) / T, -clip, clip) of the last visit.

use risk_policy::anchors::Anchors;
use risk_policy::bytes::{Reader, Writer};
use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    target: f64,
    gain: f64,
    clip: f64,
    anchors: Anchors,
}

impl Default for Settings {
    fn default() -> Self {
        Self { target: 0.02, gain: 1.0, clip: 0.2, anchors: Anchors::default() }
    }
}

/// A weight of 0 would end the visits, and with them the control.
const SMALLEST: f64 = 1e-3;
const LARGEST: f64 = 100.0;

const KIND: [u8; 4] = *b"TGKL";
const VERSION: u16 = 2;

impl Settings {
    fn check(&self) -> Result<(), String> {
        if !(self.target > 0.0 && self.target.is_finite()) {
            return Err(invalid("target", format!("{} is not above 0", self.target)));
        }
        self.anchors.check_controlled(SMALLEST, LARGEST)?;
        if !(0.0..=1.0).contains(&self.gain) {
            return Err(invalid("gain", format!("{} is not in [0, 1]", self.gain)));
        }
        if !(0.0..1.0).contains(&self.clip) {
            return Err(invalid("clip", format!("{} is not in [0, 1)", self.clip)));
        }
        Ok(())
    }

    /// The next weight, after a visit whose mean divergence was `kl`.
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
        "The weight of safety anchors grows while their KL is above a target and shrinks below it.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(settings.anchors.needs(Needs::new()))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        call.settings.check()?;
        let before = weight(call)?;
        let weight = match call.signals.anchor_visit()? {
            Some(visit) => call.settings.controlled(before, visit.mean),
            None => before,
        };
        let samples = call.signals.samples.len();
        let visit = call.settings.anchors.scheduled(call.signals.step, weight);
        Ok(Assessment::new(vec![0.0; samples], Regularization::constant(samples, 1.0, 0.0))
            .anchors(call.signals, visit)?
            .metric("weight", weight)
            .state(Writer::new(KIND, VERSION).f64(weight).finish()))
    }
}

/// The weight of the step before, or the one to begin with.
fn weight(call: &Call<'_, Settings>) -> Result<f64, String> {
    if call.state.is_empty() {
        return Ok(call.settings.anchors.weight);
    }
    let mut reader = Reader::open(call.state, KIND, VERSION, "state bytes")?;
    let weight = reader.f64()?;
    reader.finish()?;
    if !(SMALLEST..=LARGEST).contains(&weight) {
        return Err(format!("the state bytes hold a weight of {weight}, not in [0.001, 100]"));
    }
    Ok(weight)
}

risk_policy::export!(TargetKl);

#[cfg(test)]
mod tests;
