//! Weight of the safety anchors: how strongly a step holds the model on them.

use super::{Actuator, Actuators, Check, Decisions, Declared, Regularization, ranges::within};
use crate::run::{RunCapabilities, Unmet};
use crate::types::Sample;

pub(super) struct SafetyAnchors;

impl Actuator for SafetyAnchors {
    fn name(&self) -> &'static str {
        "safety-anchors"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::SAFETY_ANCHORS)
    }

    fn meaning(&self) -> &'static str {
        "holds the model to the reference on prompts beside the batch, at a cost per visit"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.anchor_weight = Some(1.0);
    }

    fn unmet(&self, declared: Declared, _run: &RunCapabilities<'_>) -> Option<Unmet> {
        let remedy = "the policy must also say in needs.anchors which anchors it wants";
        (!declared.anchors).then(|| Unmet::new(self.name(), remedy))
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        match r.anchor_weight {
            Some(weight) => within("regularization.anchor-weight", weight, 0.0, 1000.0),
            None => Ok(()),
        }
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.anchor_weight.map(|_| "anchor-weight")
    }

    /// The largest weight, on the anchors of all ([`AnchorNeed::together`]).
    ///
    /// [`AnchorNeed::together`]: crate::AnchorNeed::together
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        into.anchor_weight = decisions.some(|one| one.anchor_weight).reduce(f64::max);
    }
}
