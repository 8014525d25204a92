//! Projection of the adapter onto the alignment subspace.

use super::{Actuator, Actuators, Check, Decisions, Declared, Regularization, ranges::within};
use crate::run::{RunCapabilities, Unmet};
use crate::types::Sample;

pub(super) struct AdapterProjection;

impl Actuator for AdapterProjection {
    fn name(&self) -> &'static str {
        "adapter-projection"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::ADAPTER_PROJECTION)
    }

    fn meaning(&self) -> &'static str {
        "projects adapted matrices onto the alignment subspace"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.adapter_projection = Some(0.35);
    }

    fn unmet(&self, _declared: Declared, run: &RunCapabilities<'_>) -> Option<Unmet> {
        by_base(run, "adapter projection")
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        match r.adapter_projection {
            Some(cosine) => within("regularization.adapter-projection", cosine, -1.0, 1.0),
            None => Ok(()),
        }
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        let count = r.adapter_projection_count.map(|_| "adapter-projection-count");
        r.adapter_projection.map(|_| "adapter-projection").or(count)
    }

    /// The largest cosine and the largest number, which project the most matrices: each
    /// policy's own are among them.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        into.adapter_projection = decisions.some(|one| one.adapter_projection).reduce(f64::max);
        into.adapter_projection_count = decisions.some(|one| one.adapter_projection_count).max();
    }
}

/// What needs the model before its alignment, and an update that is a matrix of its own.
pub(super) fn by_base(run: &RunCapabilities<'_>, need: &str) -> Option<Unmet> {
    let remedy = if !run.base {
        "name the model before its alignment in model.base"
    } else if !run.additive {
        "train without magnitudes (lora.dora, or those of the adapter in lora.start): with them the update is more than scaling B A"
    } else {
        return None;
    };
    Some(Unmet::new(need, remedy))
}
