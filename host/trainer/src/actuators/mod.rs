//! What policies may steer, a file for each actuator that takes more than a number.
//!
//! One that acts on the gradient, the optimizer or the parameters is a [`StepActuator`] and a
//! row of [`STEP_ACTUATORS`]. The others act on the loss (`objective`, `ratio_clip`), the
//! gradients by origin (`gradient_projection`), the adapter as a whole (`adapter_projection`)
//! or the reference (`steering`).

pub mod adapter_projection;
mod alignment_complement;
mod anchor;
mod ema;
pub mod gradient_projection;
mod layer_scale;
pub mod objective;
pub mod ratio_clip;
mod roll_back;
pub mod safety_anchors;
pub mod stage;
pub mod steering;
pub mod vectors;

use host_contract::{Actuators, Needs};

use stage::StepActuator;

/// Makes an actuator for policies with these needs, for a run that begins with these
/// parameters.
type New = fn(&[Needs], &[f32]) -> Box<dyn StepActuator>;

/// In the order in which they act.
static STEP_ACTUATORS: [New; 4] = [layer_scale::new, ema::new, anchor::new, roll_back::new];

/// Every actuator that acts on gradient, optimizer or parameters, for one run.
pub fn step_actuators(needs: &[Needs], parameters: &[f32]) -> Vec<Box<dyn StepActuator>> {
    STEP_ACTUATORS.iter().map(|new| new(needs, parameters)).collect()
}

/// Whether any policy may use this.
pub fn any_may(needs: &[Needs], actuator: Actuators) -> bool {
    needs.iter().any(|needs| needs.actuators.contains(actuator))
}
