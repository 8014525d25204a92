//! The way back to the state before the last update.

use super::Actuators;
use crate::parameters::optimizer::AdamW;

impl Actuators {
    /// Keeps the state before an update.
    pub fn remember(&mut self, parameters: &[f32], optimizer: &AdamW) {
        self.before = Some((parameters.to_vec(), optimizer.clone()));
    }

    /// The state before the last update, once.
    pub fn take_back(&mut self) -> Option<(Vec<f32>, AdamW)> {
        self.before.take()
    }
}
