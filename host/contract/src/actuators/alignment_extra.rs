//! Alignment samples in addition to the batch of a step.

use super::{Actuator, Actuators, Check, Decisions, Declared, Regularization, ranges::within};
use crate::run::{RunCapabilities, Unmet};
use crate::types::Sample;

/// Samples that a step can get in addition to its batch.
const MOST: f64 = 1024.0;

pub(super) struct AlignmentExtra;

impl Actuator for AlignmentExtra {
    fn name(&self) -> &'static str {
        "alignment-extra"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::ALIGNMENT_EXTRA)
    }

    fn meaning(&self) -> &'static str {
        "adds alignment samples to every step, in addition to its batch"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.alignment_extra = Some(4);
    }

    fn unmet(&self, _declared: Declared, run: &RunCapabilities<'_>) -> Option<Unmet> {
        run.both_origins("alignment samples in addition to the batch")
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        match r.alignment_extra {
            Some(extra) => within("regularization.alignment-extra", extra.into(), 0.0, MOST),
            None => Ok(()),
        }
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.alignment_extra.map(|_| "alignment-extra")
    }

    /// The largest number; one that was named earlier stands, as a share does.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        into.alignment_extra = decisions.some(|one| one.alignment_extra).max();
    }
}
