//! Self-Guard (arXiv 2602.00707) as a teacher: the reference is steered by what a safety
//! instruction changes in it while it serves as the KL teacher, so that a weak reference
//! teaches as a safer one.

use risk_policy::assessment::mean;
use risk_policy::bytes::{Reader, Writer};
use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Absent for the block in the middle.
    layers: Option<Vec<u32>>,
    kl_weight: f64,
    every: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { layers: None, kl_weight: 0.25, every: 20 }
    }
}

const KIND: [u8; 4] = *b"SLFG";
const VERSION: u16 = 2;

impl Settings {
    fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.kl_weight) {
            let what = format!("{} is not in [0, 1]", self.kl_weight);
            return Err(invalid("kl_weight", what));
        }
        if self.every == 0 {
            return Err(invalid("every", "0 steps never come: give at least 1"));
        }
        match &self.layers {
            Some(layers) if layers.is_empty() => Err(invalid("layers", "names none")),
            _ => Ok(()),
        }
    }
}

pub struct SelfGuard;

impl Policy for SelfGuard {
    type Settings = Settings;

    const NAME: &str = "self-guard";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "A constant KL weight to a reference that is steered by a safety instruction.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let layers = match &settings.layers {
            Some(layers) => layers.clone(),
            None => vec![run.layers.div_ceil(2)],
        };
        Ok(Needs::new()
            .canary_every(settings.every)
            .steering(SteeringVector::SafetyInstruction, layers))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        call.settings.check()?;
        let Some(signals) = &call.signals.steering else {
            return Err("there are no steering signals".into());
        };
        let Steered { wanted, mut coefficient } = Steered::resume(call.state, signals.coefficient)?;
        let gain = match &call.signals.canary {
            // Of a coefficient of 0 there is nothing to measure.
            Some(_) if coefficient != 0.0 => Some(gain(signals)?),
            _ => None,
        };
        let weakens = gain.is_some_and(|gain| gain <= 0.0);
        if weakens {
            coefficient = 0.0;
        }
        // Once more for the step before the next measurement, which then says if it helps now.
        let measured_next = (call.signals.step + 1).is_multiple_of(u64::from(call.settings.every));
        let tries = coefficient == 0.0 && wanted != 0.0 && measured_next;
        if tries {
            coefficient = wanted;
        }
        let (samples, held) = (call.signals.samples.len(), call.settings.kl_weight);
        let mut weights = Regularization::constant(samples, 1.0 - held, held);
        weights.steering = Some(Steering { coefficient, project: false, reference: true });
        let mut assessment =
            Assessment::new(vec![0.0; samples], weights).metric("coefficient", coefficient);
        if let Some(gain) = gain {
            assessment = assessment.metric("margin.gain", gain);
        }
        if weakens {
            let message = "steered, the reference refuses no more than it does by itself: it \
                           teaches as it is";
            assessment = assessment.step_reason("not-steered", message.into());
        }
        if tries {
            let message = "steered again, for the next measurement";
            assessment = assessment.step_reason("tried-again", message.into());
        }
        let state = Writer::new(KIND, VERSION).f64(wanted).f64(coefficient).finish();
        Ok(assessment.state(state))
    }
}

/// How the reference is steered.
struct Steered {
    /// The run's own coefficient.
    wanted: f64,
    /// The one of the step before: that, or 0.
    coefficient: f64,
}

impl Steered {
    fn resume(state: &[u8], in_force: f64) -> Result<Self, String> {
        if state.is_empty() {
            return Ok(Self { wanted: in_force, coefficient: in_force });
        }
        let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
        let (wanted, coefficient) = (reader.f64()?, reader.f64()?);
        reader.finish()?;
        if coefficient != 0.0 && coefficient != wanted {
            return Err(format!(
                "the state bytes hold a coefficient of {coefficient} where {wanted} was wanted"
            ));
        }
        Ok(Self { wanted, coefficient })
    }
}

/// How much more the steered model leans towards refusing, in nats.
fn gain(signals: &SteeringSignals) -> Result<f64, String> {
    let (without, with) = (&signals.margins_without, &signals.margins_with);
    let gain = mean(with) - mean(without);
    if without.is_empty() || with.is_empty() || !gain.is_finite() {
        return Err("the steering signals have no margins that are numbers".into());
    }
    Ok(gain)
}

risk_policy::export!(SelfGuard);

#[cfg(test)]
mod tests;
