//! Which divergence the KL weight multiplies.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift};

use super::{Actuator, Actuators, Check, Declared, Regularization};
use crate::run::{RunCapabilities, Unmet};
use crate::types::Sample;

/// The divergence that the KL weight multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Divergence {
    /// KL(reference || current) over the whole vocabulary.
    #[component(name = "forward-kl")]
    ForwardKl,
    /// (ln P_current - ln P_reference)^2 / 2 of the label token.
    #[component(name = "label-k2")]
    LabelK2,
    /// KL(reference || current) over the safety tokens alone.
    #[component(name = "token-set-kl")]
    TokenSetKl,
}

pub(super) struct LabelDivergence;

impl Actuator for LabelDivergence {
    fn name(&self) -> &'static str {
        "label-divergence"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::LABEL_DIVERGENCE)
    }

    fn meaning(&self) -> &'static str {
        "may hold the model on the label token alone, which is weaker than on \
         the whole vocabulary"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.divergence = Divergence::LabelK2;
    }

    fn unmet(&self, declared: Declared, _run: &RunCapabilities<'_>) -> Option<Unmet> {
        by_tokens(declared, self.name())
    }

    fn check(&self, _r: &Regularization, _samples: &[Sample]) -> Check {
        Ok(())
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        (r.divergence == Divergence::LabelK2).then_some("divergence")
    }

    fn alone(&self) -> Option<&'static str> {
        Some("holds by another measure than the KL divergence of others")
    }
}

/// What a term of the loss over label tokens needs: their log-probabilities under both
/// models.
pub(super) fn by_tokens(declared: Declared, need: &str) -> Option<Unmet> {
    let remedy = "the policy must also declare the current and reference token log-probabilities";
    (!declared.both_log_probs).then(|| Unmet::new(need, remedy))
}
