//! How long a run takes, from its work and the speed of the machine.

use serde::Serialize;

use super::PolicyDemands;
use super::evaluation::EvaluationEstimate;
use super::speed::Speed;
use super::walk::{StepPlan, Work};
use crate::config::TrainConfig;

/// Seconds. Under policies the most it can be: every sample held to the reference, none
/// of them known from another run. Calibration and the evaluations before and
/// after come on top.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Time {
    /// A step without a policy, on average.
    pub plain_step: f64,
    /// Under the policies, where the reference is asked for the first time, and later.
    pub first_held_step: Option<f64>,
    pub later_held_step: Option<f64>,
    /// All evaluations between the steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluations: Option<f64>,
    /// All trainings of the run, with these.
    pub total: f64,
}

impl Time {
    /// `cached` bytes of the reference's cache are found again.
    pub fn of(
        walk: &StepPlan,
        speed: &Speed,
        train: &TrainConfig,
        asked: Option<&PolicyDemands>,
        cached: u64,
    ) -> Self {
        let plain = |work: &Work| {
            (speed.forward + speed.backward) * work.products
                + speed.loss * work.answer_tokens as f64
                + speed.update * work.steps as f64
        };
        let both = plain(&walk.first) + plain(&walk.later);
        let steps = |work: &Work| work.steps.max(1) as f64;
        let plain_step = both / (walk.first.steps + walk.later.steps).max(1) as f64;
        let Some(asked) = asked else {
            return Self {
                plain_step,
                first_held_step: None,
                later_held_step: None,
                evaluations: None,
                total: both,
            };
        };
        // A policy that reads the model in training does so before the micro-batches.
        let divided = train.micro_batch() < train.batch || asked.adds_samples;
        let reads_twice = asked.reads_current && divided;
        let held = |work: &Work| {
            let again = f64::from(u8::from(reads_twice) + u8::from(asked.agrees)) * speed.forward;
            // As if every step visited anchors.
            let visit = (speed.forward + speed.backward) * asked.anchors.products
                + speed.held_loss * asked.anchors.answer_tokens as f64;
            let loss = (speed.held_loss - speed.loss) * work.answer_tokens as f64;
            plain(work) + loss + again * work.products + visit * work.steps as f64
        };
        let reference = speed.reference * asked.references as f64;
        let lost = 1.0 - (cached as f64 / walk.distinct.bytes.max(1) as f64).min(1.0);
        let first = held(&walk.first) + reference * walk.distinct.products;
        let later = held(&walk.later) + reference * lost * walk.later.products;
        let baseline = if train.baseline.unwrap_or(false) { both } else { 0.0 };
        Self {
            plain_step,
            first_held_step: Some(first / steps(&walk.first)),
            later_held_step: (walk.later.steps > 0).then(|| later / steps(&walk.later)),
            evaluations: None,
            total: baseline + first + later,
        }
    }

    /// With evaluations between the steps.
    pub fn with(mut self, evaluations: Option<&EvaluationEstimate>, train: &TrainConfig) -> Self {
        let Some(evaluations) = evaluations else {
            return self;
        };
        let also_plainly = self.first_held_step.is_some() && train.baseline.unwrap_or(false);
        let trainings = 1.0 + f64::from(u8::from(also_plainly));
        let seconds = trainings * evaluations.count as f64 * evaluations.seconds;
        self.evaluations = Some(seconds);
        self.total += seconds;
        self
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
