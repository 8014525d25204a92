//! What became of the step before; every policy gets it.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lower};

use super::{
    Needs, Signal, Signals,
    synthetic::{Damage, Step, Synthetic},
};
use crate::types::Action;

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Outcome {
    /// Counts from 0.
    pub step: u64,
    /// What was done.
    pub action: Action,
    /// Mean cross-entropy per answer token, unweighted.
    #[component(name = "task-loss")]
    pub task_loss: f64,
    /// Mean KL(reference || current) per answer token; absent if not computed.
    pub kl: Option<f64>,
    /// L2 norm of the adapter's gradient before clipping.
    #[component(name = "gradient-norm")]
    pub gradient_norm: f64,
    /// That of the update.
    #[component(name = "learning-rate")]
    pub learning_rate: f64,
}

pub(super) struct PreviousSignal;

impl Signal for PreviousSignal {
    fn name(&self) -> &'static str {
        "previous"
    }

    fn need(&self) -> Option<&'static str> {
        None
    }

    fn meaning(&self) -> &'static str {
        "action, loss, KL, gradient norm and learning rate of the step before"
    }

    fn asked(&self, _needs: &Needs) -> bool {
        true
    }

    fn example(&self, _needs: &mut Needs) {}

    fn summary(&self, _needs: &Needs) -> Vec<String> {
        Vec::new()
    }

    fn given(&self, signals: &Signals) -> bool {
        signals.previous.is_some()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.previous = from.previous;
    }

    fn bytes(&self, _signals: &Signals) -> usize {
        0
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        to.previous = step.step.checked_sub(1).map(|before| Outcome {
            step: before,
            action: Action::Update,
            task_loss: made.drawn("loss", 0.4, 3.0),
            kl: Some(made.drawn("KL", 0.001, 0.05) + step.danger),
            gradient_norm: made.drawn("gradient", 0.1, 5.0),
            learning_rate: made.learning_rate(),
        });
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Norms(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let (Some(outcome), Damage::Norms(value)) = (&mut signals.previous, damage) {
            outcome.task_loss = value;
            outcome.kl = Some(value);
            outcome.gradient_norm = value;
        }
    }
}
