//! Scale of the learning rate of a step.

use super::{Actuator, Actuators, Check, Decisions, Regularization, ranges::within};
use crate::types::Sample;

pub(super) struct LearningRate;

impl Actuator for LearningRate {
    fn name(&self) -> &'static str {
        "learning-rate"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::LEARNING_RATE)
    }

    fn meaning(&self) -> &'static str {
        "scales the learning rate of a step, from 0 to 10 times"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.learning_rate_scale = 0.5;
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        within("regularization.learning-rate-scale", r.learning_rate_scale, 0.0, 10.0)
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        (r.learning_rate_scale != 1.0).then_some("learning-rate-scale")
    }

    /// The smallest scale. Of a step that is hold alone the largest, up to the schedule's own:
    /// nobody slows another's way back.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        let scales = decisions.all.iter().map(|one| one.learning_rate_scale);
        into.learning_rate_scale = if into.is_hold_alone(decisions.samples) {
            scales.map(|scale| scale.min(1.0)).fold(0.0, f64::max)
        } else {
            scales.fold(f64::MAX, f64::min)
        };
    }
}
