//! What a model and a training step hold in memory, told before it happens.

use super::Decoder;
use crate::lora::Lora;

/// A micro-batch, as far as its memory goes.
#[derive(Debug, Clone)]
pub struct StepWork {
    /// Tokens of every sequence.
    pub lengths: Vec<usize>,
    /// Rows that the loss is taken over.
    pub answer_tokens: usize,
    /// Whether it has a KL term.
    pub held: bool,
}

/// Bytes that forward, loss and backward of one micro-batch add to what is there before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepMemory {
    /// What the forward pass leaves for the backward pass.
    pub activations: u64,
    /// On top of these, in the loss: logits of the rows at work, gradient of the hidden rows.
    pub head: u64,
    /// On top of the activations, in the backward pass.
    pub backward: u64,
    /// What every thread keeps from its first product on.
    pub panels: u64,
    /// All of it where it is highest.
    pub peak: u64,
}

impl Decoder {
    /// None for the plain kernels, whose memory is the library's own affair.
    pub fn step_memory(&self, adapter: &Lora, work: &StepWork) -> Option<StepMemory> {
        let model = self.fused.as_ref()?;
        Some(model.step_memory(adapter, work, self.recompute))
    }
}
