//! What happens to the update. Any policy may skip or stop; rolling back is declared, since
//! the host then keeps the parameters before each update.

use super::{Actuator, Actuators, Check, Decisions, Regularization};
use crate::types::{Action, Sample};

pub(super) struct ActionActuator;

impl Actuator for ActionActuator {
    fn name(&self) -> &'static str {
        "roll-back"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::ROLL_BACK)
    }

    fn meaning(&self) -> &'static str {
        "undoes the update of the step before"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.action = Action::RollBack;
    }

    fn check(&self, _r: &Regularization, _samples: &[Sample]) -> Check {
        Ok(())
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        (r.action == Action::RollBack).then_some("action")
    }

    /// The strongest: update < skip < roll-back < stop.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        let actions = decisions.all.iter().map(|one| one.action);
        into.action = actions.max().unwrap_or(Action::Update);
    }
}
