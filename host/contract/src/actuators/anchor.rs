//! Quadratic pull towards earlier parameters.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift};

use super::{Actuator, Actuators, Check, Regularization, ranges::within};
use crate::types::Sample;

/// What the parameters are pulled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum AnchorTarget {
    /// The reference: adapter off.
    #[component(name = "reference")]
    Reference,
    /// The parameters when the alignment share last changed.
    #[component(name = "last-switch")]
    LastSwitch,
}

/// Adds strength / 2 * |parameters - target|^2 to the loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Anchor {
    /// What the parameters are pulled to.
    pub target: AnchorTarget,
    /// At least 0.
    pub strength: f64,
}

pub(super) struct AnchorActuator;

impl Actuator for AnchorActuator {
    fn name(&self) -> &'static str {
        "anchor"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::ANCHOR)
    }

    fn meaning(&self) -> &'static str {
        "pulls the parameters back towards the reference or an earlier point"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.anchor = Some(Anchor { target: AnchorTarget::Reference, strength: 1.0 });
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        match r.anchor {
            Some(anchor) => {
                within("regularization.anchor.strength", anchor.strength, 0.0, f64::MAX)
            }
            None => Ok(()),
        }
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.anchor.map(|_| "anchor")
    }

    fn alone(&self) -> Option<&'static str> {
        Some("may pull to an earlier point of the run, away from where others pull")
    }
}
