//! Steering by a vector; declared with the need for it.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift};

use super::{Actuator, Actuators, Check, Declared, Regularization, ranges::within};
use crate::types::Sample;

/// Steering from the next step on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Steering {
    /// Of the vector.
    pub coefficient: f64,
    /// Remove the component along the refusal direction first.
    pub project: bool,
    /// Steer the reference while it teaches.
    pub reference: bool,
}

pub(super) struct SteeringActuator;

impl Actuator for SteeringActuator {
    fn name(&self) -> &'static str {
        "steering"
    }

    fn flag(&self) -> Option<Actuators> {
        None
    }

    fn meaning(&self) -> &'static str {
        "chooses by how much a vector steers evaluation, and the reference while it teaches"
    }

    fn is_declared(&self, declared: Declared) -> bool {
        declared.steering
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.steering = Some(Steering { coefficient: 0.5, project: true, reference: false });
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        let Some(steering) = &r.steering else { return Ok(()) };
        let field = "regularization.steering.coefficient";
        within(field, steering.coefficient, -f64::MAX, f64::MAX)
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.steering.map(|_| "steering")
    }

    fn undeclared(&self) -> String {
        "is used, but needs.steering does not declare it".to_owned()
    }

    fn alone(&self) -> Option<&'static str> {
        Some("changes the reference that others hold the model to")
    }
}
