//! What a model and a training step hold in memory, told before it happens.

/// A micro-batch, as far as its memory goes.
#[derive(Debug, Clone)]
pub struct MicroBatchShape {
    /// Tokens of every sequence.
    pub lengths: Vec<usize>,
    /// Rows that the loss is taken over.
    pub answer_tokens: usize,
    /// Whether its loss has a KL term.
    pub has_kl: bool,
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
