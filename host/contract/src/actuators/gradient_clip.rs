//! Largest norm of the gradient of a step.

use super::{Actuator, Actuators, Check, Decisions, Regularization, ranges::out_of_range};
use crate::types::Sample;

pub(super) struct GradientClip;

impl Actuator for GradientClip {
    fn name(&self) -> &'static str {
        "gradient-clip"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::GRADIENT_CLIP)
    }

    fn meaning(&self) -> &'static str {
        "replaces the run's largest gradient norm"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.gradient_clip = Some(1.0);
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        match r.gradient_clip {
            Some(clip) if !(clip.is_finite() && clip > 0.0) => {
                Err(out_of_range("regularization.gradient-clip", clip, "above 0"))
            }
            _ => Ok(()),
        }
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.gradient_clip.map(|_| "gradient-clip")
    }

    /// The smallest norm.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        into.gradient_clip = decisions.some(|one| one.gradient_clip).reduce(f64::min);
    }
}
