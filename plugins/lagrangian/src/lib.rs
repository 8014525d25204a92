//! Fine-tuning under a limit, by a Lagrange multiplier: the cost is how far the
//! refusal margin of the canary prompts has fallen, and the multiplier is the KL
//! weight, ln b += eta * (cost - limit).

use risk_policy::bytes::{Reader, Writer};
use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    limit: f64,
    eta: f64,
    kl_weight: f64,
    every: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { limit: 1.0, eta: 0.1, kl_weight: 0.1, every: 5 }
    }
}

/// The multiplier never gets so small that it could not come back; the host takes no
/// weight above 10.
const SMALLEST: f64 = 1e-3;
const LARGEST: f64 = 10.0;

impl Settings {
    fn check(&self) -> Result<(), String> {
        if !(self.limit >= 0.0 && self.limit.is_finite()) {
            return Err(invalid("limit", format!("{} is below 0", self.limit)));
        }
        if !(self.eta > 0.0 && self.eta.is_finite()) {
            return Err(invalid("eta", format!("{} is not above 0", self.eta)));
        }
        if !(SMALLEST..=LARGEST).contains(&self.kl_weight) {
            let what = format!("{} is not in [0.001, 10]", self.kl_weight);
            return Err(invalid("kl_weight", what));
        }
        if self.every == 0 {
            return Err(invalid("every", "0 steps never come: give at least 1"));
        }
        Ok(())
    }
}

const KIND: [u8; 4] = *b"LGRG";
const VERSION: u16 = 1;

/// What the policy remembers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Multiplier {
    kl_weight: f64,
    /// The mean margin of the first measurement.
    first: Option<f64>,
}

impl Multiplier {
    fn resume(state: &[u8], settings: &Settings) -> Result<Self, String> {
        if state.is_empty() {
            return Ok(Self { kl_weight: settings.kl_weight, first: None });
        }
        let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
        let kl_weight = reader.f64()?;
        let first = match reader.u8()? {
            0 => None,
            _ => Some(reader.f64()?),
        };
        reader.finish()?;
        if !(SMALLEST..=LARGEST).contains(&kl_weight) {
            return Err(format!(
                "the state bytes hold a KL weight of {kl_weight}, not in [0.001, 10]"
            ));
        }
        Ok(Self { kl_weight, first })
    }

    fn state(self) -> Vec<u8> {
        let writer = Writer::new(KIND, VERSION).f64(self.kl_weight);
        match self.first {
            None => writer.u8(0),
            Some(first) => writer.u8(1).f64(first),
        }
        .finish()
    }

    /// Takes in a mean margin; returns how far it has fallen.
    fn update(&mut self, settings: &Settings, margin: f64) -> f64 {
        let fall = *self.first.get_or_insert(margin) - margin;
        let factor = (settings.eta * (fall - settings.limit)).exp();
        self.kl_weight = (self.kl_weight * factor).clamp(SMALLEST, LARGEST);
        fall
    }
}

pub struct Lagrangian;

impl Policy for Lagrangian {
    type Settings = Settings;

    const NAME: &str = "lagrangian";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "A KL weight that grows while the refusal margin has fallen by more than a limit.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(Needs::new().canary_every(settings.every))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        call.settings.check()?;
        let mut multiplier = Multiplier::resume(call.state, call.settings)?;
        let mut fall = None;
        if let Some(canary) = &call.signals.canary {
            let margin = canary.mean_margin()?;
            fall = Some(multiplier.update(call.settings, margin));
        }
        let samples = call.signals.samples.len();
        let weights = Regularization::constant(samples, 1.0, multiplier.kl_weight);
        let assessment = Assessment::new(vec![0.0; samples], weights)
            .metric("kl_weight", multiplier.kl_weight)
            .state(multiplier.state());
        Ok(match fall {
            Some(fall) => assessment.metric("margin.fall", fall),
            None => assessment,
        })
    }
}

risk_policy::export!(Lagrangian);

#[cfg(test)]
mod tests;
