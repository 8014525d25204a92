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

    /// Only of rolling back: everybody may skip or stop.
    fn alone(&self) -> Option<&'static str> {
        Some("undoes updates, also those that brought the model back")
    }

    /// The strongest: update < skip < stop. But nobody skips a step that is hold alone for
    /// another policy.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        let actions = decisions.all.iter().map(|one| one.action);
        let strongest = actions.clone().max().unwrap_or(Action::Update);
        let spared = strongest == Action::Skip && into.is_hold_alone(decisions.samples);
        into.action = if spared { actions.min().unwrap_or(strongest) } else { strongest };
    }
}
