//! Adapter and steering on top of the frozen weights.

use crate::lora::Lora;
use crate::steering::Steering;

/// An adapter, a steering, both or neither. Neither is the reference of a fine-tune.
#[derive(Clone, Copy, Default)]
pub struct Overlay<'a> {
    /// The adapter that is switched on.
    pub adapter: Option<&'a Lora>,
    /// Only without gradient: a model in training is never steered.
    pub steering: Option<&'a Steering>,
}

impl Overlay<'_> {
    /// Whether a pass computes what the reference does.
    pub fn is_reference(&self) -> bool {
        self.adapter.is_none() && self.steering.is_none()
    }
}

impl<'a> From<Option<&'a Lora>> for Overlay<'a> {
    fn from(adapter: Option<&'a Lora>) -> Self {
        Self { adapter, steering: None }
    }
}
