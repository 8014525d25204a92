//! Task weight and KL weight of every sample; every policy may set them.

use super::{Actuator, Actuators, Check, Decisions, Regularization, per_sample};
use crate::types::Sample;

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

    /// The smallest task weight and the largest KL weight of each sample.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        let all = decisions.all.iter();
        into.task_weight = fold(all.clone().map(|one| one.task_weight.clone()), f64::min);
        into.kl_weight = fold(all.map(|one| one.kl_weight.clone()), f64::max);
    }
}

/// Combines lists element by element.
pub(crate) fn fold(lists: impl Iterator<Item = Vec<f64>>, pick: fn(f64, f64) -> f64) -> Vec<f64> {
    let combined = lists.reduce(|a, b| a.iter().zip(&b).map(|(a, b)| pick(*a, *b)).collect());
    combined.unwrap_or_default()
}
