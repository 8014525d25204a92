//! Divergence over the safety tokens alone; declared with the need for them.

use super::{Actuator, Actuators, Check, Declared, Divergence, Regularization};
use crate::run::{RunCapabilities, Unmet};
use crate::types::Sample;

pub(super) struct TokenSetDivergence;

impl Actuator for TokenSetDivergence {
    fn name(&self) -> &'static str {
        "token-set"
    }

    fn flag(&self) -> Option<Actuators> {
        None
    }

    fn meaning(&self) -> &'static str {
        "may hold the model on the safety tokens alone, which is weaker than on \
         the whole vocabulary"
    }

    fn is_declared(&self, declared: Declared) -> bool {
        declared.token_set
    }

    fn unmet(&self, _declared: Declared, run: &RunCapabilities<'_>) -> Option<Unmet> {
        let remedy = "name files of prompts in anchors.harmful and anchors.harmless";
        (run.anchors != [true; 2]).then(|| Unmet::new("safety tokens", remedy))
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.divergence = Divergence::TokenSetKl;
    }

    fn check(&self, _r: &Regularization, _samples: &[Sample]) -> Check {
        Ok(())
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        (r.divergence == Divergence::TokenSetKl).then_some("divergence")
    }

    fn undeclared(&self) -> String {
        "is used, but needs.token-set does not declare it".to_owned()
    }

    fn alone(&self) -> Option<&'static str> {
        Some("holds by another measure than the KL divergence of others")
    }
}
