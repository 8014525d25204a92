//! How the steering in force relates to safety.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

use super::{
    Needs, Signal, Signals, layers,
    synthetic::{Damage, Step, Synthetic},
};
use crate::{invalid::Invalid, types::RunInfo};

/// A direction in activation space that the host fits before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum SteeringVector {
    /// Mean change of the last-token activation when a safety instruction is added.
    #[component(name = "safety-instruction")]
    SafetyInstruction,
    /// Mean activation of harmful prompts minus that of harmless ones.
    #[component(name = "refusal-direction")]
    RefusalDirection,
    /// A vector file named in the run's configuration.
    #[component(name = "configured")]
    Configured,
}

/// Steering that the policy wants to control with `Regularization::steering`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct SteeringNeed {
    /// Which direction.
    pub vector: SteeringVector,
    /// Ascending, without repeats.
    pub layers: Vec<u32>,
}

/// What the steering in force does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct SteeringSignals {
    /// The coefficient in force.
    pub coefficient: f64,
    /// Cosine of the steering vector and the refusal direction, per layer.
    pub cosines: Vec<f64>,
    /// Canary margins without steering.
    #[component(name = "margins-without")]
    pub margins_without: Vec<f64>,
    /// Canary margins with steering.
    #[component(name = "margins-with")]
    pub margins_with: Vec<f64>,
}

pub(super) struct SteeringSignal;

impl Signal for SteeringSignal {
    fn name(&self) -> &'static str {
        "steering"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.steering")
    }

    fn meaning(&self) -> &'static str {
        "coefficient of the steering in force, its cosine with the refusal direction, and the \
         refusal margins with and without it"
    }

    fn asked(&self, needs: &Needs) -> bool {
        needs.steering.is_some()
    }

    fn example(&self, needs: &mut Needs) {
        let vector = SteeringVector::RefusalDirection;
        needs.steering = Some(SteeringNeed { vector, layers: vec![1] });
    }

    fn check(&self, needs: &Needs, run: &RunInfo) -> Result<(), Invalid> {
        match &needs.steering {
            Some(steering) => layers::check("needs.steering.layers", &steering.layers, run),
            None => Ok(()),
        }
    }

    fn exceeds(&self, narrow: &Needs, wide: &Needs) -> Option<String> {
        let exceeded = match (&narrow.steering, &wide.steering) {
            (Some(a), Some(b)) => {
                a.vector != b.vector || !a.layers.iter().all(|layer| b.layers.contains(layer))
            }
            (need, _) => need.is_some(),
        };
        exceeded.then(|| "needs.steering".to_owned())
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        let lines = needs.steering.iter().map(|steering| {
            let vector = match steering.vector {
                SteeringVector::SafetyInstruction => "the safety instruction",
                SteeringVector::RefusalDirection => "the refusal direction",
                SteeringVector::Configured => "a configured vector",
            };
            format!("steering by {vector} at {}", layers::in_words(&steering.layers))
        });
        lines.collect()
    }

    fn given(&self, signals: &Signals) -> bool {
        signals.steering.is_some()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.steering.clone_from(&from.steering);
    }

    fn bytes(&self, _signals: &Signals) -> usize {
        0
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        to.steering = made.needs.steering.as_ref().map(|need| SteeringSignals {
            coefficient: 1.0,
            cosines: need.layers.iter().map(|_| 0.8 - step.danger).collect(),
            margins_without: made.margins("without", step.step, step.danger),
            margins_with: made.margins("with", step.step, step.danger / 2.0),
        });
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Margins(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let (Some(steering), Damage::Margins(value)) = (&mut signals.steering, damage) {
            steering.margins_without.fill(value.into());
            steering.margins_with.fill(value.into());
        }
    }
}
