//! The conflict of the task and the alignment gradient.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lower};

use super::{
    Needs, Signal, Signals,
    synthetic::{Damage, Step, Synthetic},
};
use crate::run::{RunCapabilities, Unmet};

/// Norms and inner product of the two gradients of the step before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct GradientConflict {
    /// L2 norm of the task gradient.
    #[component(name = "task-norm")]
    pub task_norm: f64,
    /// L2 norm of the alignment gradient.
    #[component(name = "alignment-norm")]
    pub alignment_norm: f64,
    /// Below 0 where the two pull in opposite directions.
    pub dot: f64,
}

pub(super) struct GradientConflictSignal;

impl Signal for GradientConflictSignal {
    fn name(&self) -> &'static str {
        "gradient-conflict"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.gradient-conflict")
    }

    fn meaning(&self) -> &'static str {
        "inner product of the task and the alignment gradient of the step before"
    }

    fn asked(&self, needs: &Needs) -> bool {
        needs.gradient_conflict
    }

    fn example(&self, needs: &mut Needs) {
        needs.gradient_conflict = true;
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        let asked =
            needs.gradient_conflict.then(|| "the conflict of task and alignment gradient".into());
        asked.into_iter().collect()
    }

    fn unmet(&self, needs: &Needs, run: &RunCapabilities<'_>) -> Option<Unmet> {
        needs.gradient_conflict.then(|| run.both_origins("the gradient conflict")).flatten()
    }

    fn given(&self, signals: &Signals) -> bool {
        signals.gradient_conflict.is_some()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.gradient_conflict = from.gradient_conflict;
    }

    fn bytes(&self, _signals: &Signals) -> usize {
        0
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        let (task, alignment) = (made.drawn("task norm", 0.3, 3.0), made.drawn("norm", 0.1, 1.0));
        to.gradient_conflict = Some(GradientConflict {
            task_norm: task,
            alignment_norm: alignment,
            dot: task * alignment * (0.8 - 1.6 * step.danger),
        });
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Norms(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let Damage::Norms(value) = damage {
            signals.gradient_conflict =
                Some(GradientConflict { task_norm: value, alignment_norm: value, dot: value });
        }
    }
}
