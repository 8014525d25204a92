//! Projection of the task gradient.

use super::{Actuator, Actuators, Check, Decisions, Declared, Regularization};
use crate::run::{RunCapabilities, Unmet};
use crate::types::Sample;

pub(super) struct GradientProjection;

impl Actuator for GradientProjection {
    fn name(&self) -> &'static str {
        "gradient-projection"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::GRADIENT_PROJECTION)
    }

    fn meaning(&self) -> &'static str {
        "removes from the task gradient what opposes the alignment gradient"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.gradient_projection = true;
    }

    fn unmet(&self, _declared: Declared, run: &RunCapabilities<'_>) -> Option<Unmet> {
        run.both_origins("gradient projection")
    }

    fn check(&self, _r: &Regularization, _samples: &[Sample]) -> Check {
        Ok(())
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.gradient_projection.then_some("gradient-projection")
    }

    /// If any policy wants it.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        into.gradient_projection = decisions.all.iter().any(|one| one.gradient_projection);
    }
}
