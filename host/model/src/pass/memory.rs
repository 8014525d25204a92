//! Estimate of the memory that a training step needs.

/// Properties of a micro-batch that decide its memory.
#[derive(Debug, Clone)]
pub struct MicroBatchShape {
    /// Tokens of every sequence.
    pub lengths: Vec<usize>,
    /// Rows that the loss is taken over.
    pub answer_tokens: usize,
    /// Whether its loss has a KL term.
    pub has_kl: bool,
    /// Whether inputs of adapters are dropped.
    pub has_dropout: bool,
}

/// Bytes that forward, loss and backward pass of one micro-batch need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepMemory {
    /// Activations kept for the backward pass.
    pub activations: u64,
    /// On top of these, in the loss: logits of the rows at work, gradient of the hidden rows.
    pub head: u64,
    /// On top of the activations, in the backward pass.
    pub backward: u64,
    /// Packing buffers of all threads.
    pub panels: u64,
    /// The most that is held at any time.
    pub peak: u64,
}
