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

    /// The smallest norm; the trainer takes the run's own if that is smaller still. Of a step
    /// that is hold alone the largest, where one who names none means the run's own.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        let norms = decisions.all.iter().map(|one| one.gradient_clip);
        into.gradient_clip = if into.is_hold_alone(decisions.samples) {
            norms.reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b))).flatten()
        } else {
            norms.flatten().reduce(f64::min)
        };
    }
}
