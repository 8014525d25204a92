//! Task weight and KL weight of every sample; every policy may set them.

use super::{Actuator, Actuators, Check, Decisions, Pick, Regularization, per_sample};
use crate::types::{Origin, Sample};

pub(super) struct Weights;

impl Actuator for Weights {
    fn name(&self) -> &'static str {
        "weights"
    }

    fn flag(&self) -> Option<Actuators> {
        None
    }

    fn meaning(&self) -> &'static str {
        "weighs the task loss and the KL divergence of each sample"
    }

    fn example(&self, samples: &[Sample], r: &mut Regularization) {
        r.task_weight = vec![0.5; samples.len()];
        r.kl_weight = vec![0.5; samples.len()];
    }

    fn check(&self, r: &Regularization, samples: &[Sample]) -> Check {
        per_sample("regularization.task-weight", &r.task_weight, samples.len(), 10.0)?;
        per_sample("regularization.kl-weight", &r.kl_weight, samples.len(), 10.0)
    }

    fn used(&self, _r: &Regularization) -> Option<&'static str> {
        Some("task-weight")
    }

    /// The smallest task weight and the largest KL weight of each sample. To learn from
    /// alignment data is a hold as well: there the largest task weight counts.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        into.task_weight = decisions.per_sample(|one| &one.task_weight, pick_task);
        into.kl_weight = decisions.per_sample(|one| &one.kl_weight, |_| f64::max);
    }
}

/// Which of two task weights of such a sample is the stricter one.
pub(super) fn pick_task(sample: &Sample) -> Pick {
    match sample.origin {
        Origin::Task => f64::min,
        Origin::Alignment => f64::max,
    }
}
