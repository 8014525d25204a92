//! Drift: the distance of the parameters from the reference.

use super::{
    Missing, Needs, Signal, Signals,
    synthetic::{Damage, Step, Synthetic},
};

pub(super) struct DriftSignal;

impl Signal for DriftSignal {
    fn name(&self) -> &'static str {
        "drift"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.drift")
    }

    fn meaning(&self) -> &'static str {
        "L2 norm of the adapter's update of the weights, over all adapted matrices"
    }

    fn asked(&self, needs: &Needs) -> bool {
        needs.drift
    }

    fn example(&self, needs: &mut Needs) {
        needs.drift = true;
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        needs.drift.then(|| "the distance from the reference".into()).into_iter().collect()
    }

    fn given(&self, signals: &Signals) -> bool {
        signals.drift.is_some()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.drift = from.drift;
    }

    fn bytes(&self, _signals: &Signals) -> usize {
        0
    }

    fn missing(&self, _needs: &Needs) -> Missing {
        Missing { field: "needs.drift", what: "the drift".into() }
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        to.drift = Some(made.drawn("drift", 0.05, 1.0) + 10.0 * step.danger);
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Norms(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let Damage::Norms(value) = damage {
            signals.drift = Some(value);
        }
    }
}
