//! A learning rate that follows the loss, k / sqrt(loss + eps), up to a cap: what the
//! model finds surprising is learned slowly. The loss is a running mean of past steps or
//! that of the batch about to be learned.

use risk_policy::bytes::{Reader, Writer};
use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    k: f64,
    cap: f64,
    loss: Loss,
}

/// The loss that the learning rate follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Loss {
    /// A running mean over the steps before this one.
    Past,
    /// The loss of this step's batch, so that a poisoned batch slows its own step.
    Batch,
}

impl Default for Settings {
    fn default() -> Self {
        Self { k: 1e-5, cap: 5e-5, loss: Loss::Batch }
    }
}

/// Share of the mean that the step before adds to.
const KEPT: f64 = 0.9;
const EPSILON: f64 = 1e-8;
/// The host scales the schedule up to this.
const LARGEST_SCALE: f64 = 10.0;

const KIND: [u8; 4] = *b"FNCH";
const VERSION: u16 = 1;

impl Settings {
    fn check(&self) -> Result<(), String> {
        for (key, value) in [("k", self.k), ("cap", self.cap)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(invalid(key, format!("{value} is not above 0")));
            }
        }
        Ok(())
    }

    fn learning_rate(&self, loss: f64) -> f64 {
        (self.k / (loss + EPSILON).sqrt()).min(self.cap)
    }
}

pub struct Finch;

impl Policy for Finch {
    type Settings = Settings;

    const NAME: &str = "finch";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Plain fine-tuning whose learning rate falls while the loss is high.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let needs = Needs::new().actuators(Actuators::LEARNING_RATE);
        Ok(match settings.loss {
            Loss::Past => needs,
            Loss::Batch => needs.sample_loss(),
        })
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        call.settings.check()?;
        let loss = match call.settings.loss {
            Loss::Past => mean_loss(call)?,
            Loss::Batch => batch_loss(call)?,
        };
        let scheduled = call.signals.learning_rate;
        // Until a loss is known, the schedule holds below the cap.
        let wanted =
            loss.map_or(scheduled.min(call.settings.cap), |loss| call.settings.learning_rate(loss));
        let scale = if scheduled > 0.0 { (wanted / scheduled).min(LARGEST_SCALE) } else { 1.0 };
        let samples = call.signals.samples.len();
        let mut regularization = Regularization::constant(samples, 1.0, 0.0);
        regularization.learning_rate_scale = scale;
        let assessment = Assessment::new(vec![0.0; samples], regularization);
        Ok(match (loss, call.settings.loss) {
            (Some(mean), Loss::Past) => assessment
                .metric("loss.mean", mean)
                .state(Writer::new(KIND, VERSION).f64(mean).finish()),
            (Some(batch), Loss::Batch) => assessment.metric("loss.batch", batch),
            (None, _) => assessment,
        })
    }
}

/// The loss of this step's batch; none without an answer token.
fn batch_loss(call: &Call<'_, Settings>) -> Result<Option<f64>, String> {
    if !call.state.is_empty() {
        return Err("the state bytes are of another policy: there is no state with \
                    `loss` = \"batch\""
            .to_string());
    }
    call.signals.batch_loss()
}

/// The running mean with the loss of the step before in it; none at the first step.
fn mean_loss(call: &Call<'_, Settings>) -> Result<Option<f64>, String> {
    let kept = kept(call.state)?;
    let Some(step) = &call.signals.previous else {
        return Ok(kept);
    };
    let loss = step.task_loss;
    if !(loss >= 0.0 && loss.is_finite()) {
        return Err(format!("the loss of step {} is {loss}", step.step));
    }
    Ok(Some(kept.map_or(loss, |mean| KEPT * mean + (1.0 - KEPT) * loss)))
}

fn kept(state: &[u8]) -> Result<Option<f64>, String> {
    if state.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
    let mean = reader.f64()?;
    reader.finish()?;
    if mean < 0.0 {
        return Err(format!("the state bytes hold a mean loss of {mean}"));
    }
    Ok(Some(mean))
}

risk_policy::export!(Finch);

#[cfg(test)]
mod tests;
