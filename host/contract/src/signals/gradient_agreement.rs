//! Agreement of each sample's gradient with the alignment gradient.

use super::{
    Needs, Signal, Signals,
    synthetic::{Damage, Row, Step, Synthetic, drawn},
};
use crate::run::{RunCapabilities, Unmet};

pub(super) struct GradientAgreementSignal;

impl Signal for GradientAgreementSignal {
    fn name(&self) -> &'static str {
        "gradient-agreement"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.gradient-agreement")
    }

    fn meaning(&self) -> &'static str {
        "change of each sample's loss along the alignment gradient, in nats per unit of distance"
    }

    fn asked(&self, needs: &Needs) -> bool {
        needs.gradient_agreement
    }

    fn example(&self, needs: &mut Needs) {
        needs.gradient_agreement = true;
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        let asked = needs
            .gradient_agreement
            .then(|| "the agreement of each sample with the alignment gradient".into());
        asked.into_iter().collect()
    }

    fn unmet(&self, needs: &Needs, run: &RunCapabilities<'_>) -> Option<Unmet> {
        needs.gradient_agreement.then(|| run.both_origins("the gradient agreement")).flatten()
    }

    fn given(&self, signals: &Signals) -> bool {
        signals.gradient_agreement.is_some()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.gradient_agreement.clone_from(&from.gradient_agreement);
    }

    fn bytes(&self, signals: &Signals) -> usize {
        signals.gradient_agreement.as_ref().map_or(0, |list| size_of_val(&list[..]))
    }

    /// A harmful row opposes the alignment data.
    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        let size = made.drawn("agreement", 0.05, 0.5);
        let of = |row: &Row| {
            size * (0.6 - 1.4 * row.level + 0.2 * drawn(made.seed, "agreement of", &[row.key]))
        };
        to.gradient_agreement = Some(step.rows.iter().map(of).collect());
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Norms(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let (Some(values), Damage::Norms(value)) = (&mut signals.gradient_agreement, damage) {
            values.fill(value);
        }
    }
}
