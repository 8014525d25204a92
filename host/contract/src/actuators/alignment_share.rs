//! Share of alignment samples in a step.

use super::{Actuator, Actuators, Check, Decisions, Declared, Regularization, ranges::within};
use crate::run::{RunCapabilities, Unmet};
use crate::types::Sample;

pub(super) struct AlignmentShare;

impl Actuator for AlignmentShare {
    fn name(&self) -> &'static str {
        "alignment-share"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::ALIGNMENT_SHARE)
    }

    fn meaning(&self) -> &'static str {
        "chooses how many samples of a step come from the alignment data"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.alignment_share = Some(0.5);
    }

    fn unmet(&self, _declared: Declared, run: &RunCapabilities<'_>) -> Option<Unmet> {
        run.both_origins("an alignment share")
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        match r.alignment_share {
            Some(share) => within("regularization.alignment-share", share, 0.0, 1.0),
            None => Ok(()),
        }
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.alignment_share.map(|_| "alignment-share")
    }

    /// The largest share. One that a policy named earlier stands until it names another; see
    /// [`Combiner`](crate::Combiner).
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        into.alignment_share = decisions.some(|one| one.alignment_share).reduce(f64::max);
    }
}
