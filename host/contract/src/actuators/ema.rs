//! Exponential moving average of the parameters.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift};

use super::{Actuator, Actuators, Check, Regularization, ranges::out_of_range};
use crate::types::Sample;

/// average <- decay * average + (1 - decay) * parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Ema {
    /// In [0, 1).
    pub decay: f64,
    /// Also write the average back into the parameters.
    #[component(name = "in-path")]
    pub in_path: bool,
}

pub(super) struct EmaActuator;

impl Actuator for EmaActuator {
    fn name(&self) -> &'static str {
        "ema"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::EMA)
    }

    fn meaning(&self) -> &'static str {
        "averages the parameters over steps, and may put the average back into training"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.ema = Some(Ema { decay: 0.9, in_path: false });
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        match r.ema {
            Some(Ema { decay, .. }) if !(0.0..1.0).contains(&decay) => {
                Err(out_of_range("regularization.ema.decay", decay, "at least 0 and below 1"))
            }
            _ => Ok(()),
        }
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.ema.map(|_| "ema")
    }

    fn alone(&self) -> Option<&'static str> {
        Some("puts earlier parameters in the place of those that others held")
    }
}
