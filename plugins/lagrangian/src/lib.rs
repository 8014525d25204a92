//! Fine-tuning under a limit, by a Lagrange multiplier: the cost is the share of the refusal
//! margin of the canary prompts that has been lost, and the multiplier is the weight of the
//! KL to the reference on safety anchors, ln lambda += eta * (cost - limit).

use risk_policy::anchors::Anchors;
use risk_policy::bytes::{Reader, Writer};
use risk_policy::canary;
use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    limit: f64,
    eta: f64,
    every: u32,
    anchors: Anchors,
}

impl Default for Settings {
    fn default() -> Self {
        Self { limit: 0.25, eta: 1.0, every: 5, anchors: Anchors::default() }
    }
}

/// The multiplier never gets so small that it could not come back, nor so large that nothing
/// but the anchors would count.
const SMALLEST: f64 = 1e-3;
const LARGEST: f64 = 100.0;

impl Settings {
    fn check(&self) -> Result<(), String> {
        if !(self.limit >= 0.0 && self.limit.is_finite()) {
            return Err(invalid("limit", format!("{} is below 0", self.limit)));
        }
        if !(self.eta > 0.0 && self.eta.is_finite()) {
            return Err(invalid("eta", format!("{} is not above 0", self.eta)));
        }
        self.anchors.check_controlled(SMALLEST, LARGEST)?;
        if self.every == 0 {
            return Err(invalid("every", "0 steps never come: give at least 1"));
        }
        Ok(())
    }
}

const KIND: [u8; 4] = *b"LGRG";
const VERSION: u16 = 2;

/// What the policy remembers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Multiplier {
    weight: f64,
    /// The mean margin of the first measurement.
    first: Option<f64>,
}

impl Multiplier {
    fn resume(state: &[u8], settings: &Settings) -> Result<Self, String> {
        if state.is_empty() {
            return Ok(Self { weight: settings.anchors.weight, first: None });
        }
        let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
        let weight = reader.f64()?;
        let first = match reader.u8()? {
            0 => None,
            _ => Some(reader.f64()?),
        };
        reader.finish()?;
        if !(SMALLEST..=LARGEST).contains(&weight) {
            return Err(format!("the state bytes hold a weight of {weight}, not in [0.001, 100]"));
        }
        Ok(Self { weight, first })
    }

    fn state(self) -> Vec<u8> {
        let writer = Writer::new(KIND, VERSION).f64(self.weight);
        match self.first {
            None => writer.u8(0),
            Some(first) => writer.u8(1).f64(first),
        }
        .finish()
    }

    /// Takes in a mean margin; returns the share of the first one that is lost.
    fn update(&mut self, settings: &Settings, margin: f64) -> f64 {
        let lost = canary::lost(*self.first.get_or_insert(margin), margin);
        let factor = (settings.eta * (lost - settings.limit)).exp();
        self.weight = (self.weight * factor).clamp(SMALLEST, LARGEST);
        lost
    }
}

pub struct Lagrangian;

impl Policy for Lagrangian {
    type Settings = Settings;

    const NAME: &str = "lagrangian";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "The weight of safety anchors grows while more of the refusal margin is lost than a limit.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(settings.anchors.needs(Needs::new().canary_every(settings.every)))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        call.settings.check()?;
        let mut multiplier = Multiplier::resume(call.state, call.settings)?;
        let mut lost = None;
        if let Some(canary) = &call.signals.canary {
            let margin = canary.mean_margin()?;
            lost = Some(multiplier.update(call.settings, margin));
        }
        let samples = call.signals.samples.len();
        let plain = Regularization::constant(samples, 1.0, 0.0);
        let visit = call.settings.anchors.scheduled(call.signals.step, multiplier.weight);
        let assessment = Assessment::new(vec![0.0; samples], plain)
            .anchors(call.signals, visit)?
            .metric("lambda", multiplier.weight)
            .state(multiplier.state());
        Ok(match lost {
            Some(lost) => assessment.metric("margin.lost", lost),
            None => assessment,
        })
    }
}

risk_policy::export!(Lagrangian);

#[cfg(test)]
mod tests;
