//! Loss of each sample on the batch of the step, before the update.

use super::{
    Needs, Signal, Signals,
    synthetic::{Damage, Row, Step, Synthetic},
};

pub(super) struct SampleLossSignal;

impl Signal for SampleLossSignal {
    fn name(&self) -> &'static str {
        "sample-loss"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.sample-loss")
    }

    fn meaning(&self) -> &'static str {
        "mean cross-entropy per answer token of each sample before the update, in nats"
    }

    fn asked(&self, needs: &Needs) -> bool {
        needs.sample_loss
    }

    fn example(&self, needs: &mut Needs) {
        needs.sample_loss = true;
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        needs
            .sample_loss
            .then(|| "the loss of each sample before the update".into())
            .into_iter()
            .collect()
    }

    fn given(&self, signals: &Signals) -> bool {
        signals.sample_loss.is_some()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.sample_loss.clone_from(&from.sample_loss);
    }

    fn bytes(&self, signals: &Signals) -> usize {
        signals.sample_loss.as_ref().map_or(0, |losses| size_of_val(&losses[..]))
    }

    /// A harmful sample is one that the model would not have answered like that.
    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        let loss = |row: &Row| {
            made.drawn("sample loss", 0.3, 2.0) + 2.0 * row.level + 0.05 * (row.key % 5) as f64
        };
        to.sample_loss = Some(step.rows.iter().map(loss).collect());
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Norms(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let (Some(losses), Damage::Norms(value)) = (&mut signals.sample_loss, damage) {
            losses.fill(value);
        }
    }
}
