//! Pull of the adapter into the alignment subspace.

use super::{
    Actuator, Actuators, Check, Decisions, Declared, Regularization, adapter_projection::by_base,
    ranges::within,
};
use crate::run::{RunCapabilities, Unmet};
use crate::types::Sample;

pub(super) struct AlignmentComplement;

impl Actuator for AlignmentComplement {
    fn name(&self) -> &'static str {
        "alignment-complement"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::ALIGNMENT_COMPLEMENT)
    }

    fn meaning(&self) -> &'static str {
        "pulls to 0 what of the adapter's update lies outside of the alignment subspace"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.alignment_complement = Some(1.0);
    }

    fn unmet(&self, _declared: Declared, run: &RunCapabilities<'_>) -> Option<Unmet> {
        by_base(run, "the pull into the alignment subspace")
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        match r.alignment_complement {
            Some(strength) => {
                within("regularization.alignment-complement", strength, 0.0, f64::MAX)
            }
            None => Ok(()),
        }
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.alignment_complement.map(|_| "alignment-complement")
    }

    /// The largest strength: all pull to the same place.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        into.alignment_complement = decisions.some(|one| one.alignment_complement).reduce(f64::max);
    }
}
