//! The decoder: one frozen copy of the weights, run with or without an adapter.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;

use crate::config::Config;
use crate::error::Result;
use crate::lora::Lora;
use crate::weights::Weights;

/// Which code computes the forward and backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// Hand-written kernels with their own backward pass: CPU, f32.
    Fused,
    /// candle's differentiable operations: any device and type; the test oracle.
    Plain,
}

/// Sequences of different lengths, concatenated without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    pub tokens: Vec<u32>,
    /// First row of every sequence, then the number of rows: sequences + 1.
    pub starts: Vec<usize>,
}

/// Row ranges of a packed batch whose mean hidden state is wanted.
/// Layer 0 is the embeddings, layer i the residual stream after block i.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapRows {
    pub layer: usize,
    pub rows: Vec<Range<usize>>,
}

/// What a forward pass leaves.
pub struct Forward {
    /// [rows, hidden] after the final norm, on the graph of the adapter.
    pub hidden: Tensor,
    /// Per `TapRows`: rows.len() * hidden values, off the graph.
    pub taps: Vec<Vec<f32>>,
}

/// The rows a loss is taken over. Weights are already divided by N.
pub struct HeadRows<'a> {
    /// [n, hidden], on the graph.
    pub hidden: &'a Tensor,
    /// [n, hidden] of the reference, for the KL term.
    pub reference: Option<&'a Tensor>,
    pub labels: &'a [u32],
    pub task_weights: &'a [f32],
    pub kl_weights: &'a [f32],
}

/// Sum over rows of task weight * CE + KL weight * KL(reference || current).
pub struct HeadLoss {
    /// Scalar, on the graph.
    pub loss: Tensor,
    /// Cross entropy per row in nats, unweighted.
    pub task: Vec<f32>,
    /// KL per row in nats, unweighted; 0 without a reference.
    pub kl: Vec<f32>,
}

/// A decoder of the Llama family with frozen weights.
pub struct Decoder {
    pub config: Arc<Config>,
    pub weights: Weights,
    pub kernels: Kernels,
}

/// Keys and values of the sequences that are being generated.
pub struct KvCache {}

impl KvCache {
    pub fn num_sequences(&self) -> usize {
        todo!()
    }
    /// Tokens held of sequence `index`.
    pub fn len(&self, index: usize) -> usize {
        let _ = index;
        todo!()
    }
    /// Keeps the sequences whose flag is set, in order; drops the others.
    pub fn retain(&mut self, keep: &[bool]) -> Result<()> {
        let _ = keep;
        todo!()
    }
}

impl Packed {
    pub fn from_sequences<S: AsRef<[u32]>>(sequences: &[S]) -> Self {
        let _ = sequences;
        todo!()
    }
    pub fn num_sequences(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }
    pub fn sequence(&self, index: usize) -> Range<usize> {
        self.starts[index]..self.starts[index + 1]
    }
}

impl Decoder {
    pub fn new(config: Config, weights: Weights, kernels: Kernels) -> Result<Self> {
        let _ = (config, weights, kernels);
        todo!()
    }
    pub fn forward(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
        taps: &[TapRows],
    ) -> Result<Forward> {
        let _ = (batch, adapter, taps);
        todo!()
    }
    pub fn forward_taps(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
        taps: &[TapRows],
    ) -> Result<Vec<Vec<f32>>> {
        let _ = (batch, adapter, taps);
        todo!()
    }
    /// [n, vocabulary] logits of hidden rows [n, hidden], off the graph, f32.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let _ = hidden;
        todo!()
    }
    pub fn label_log_probs(&self, hidden: &Tensor, labels: &[u32]) -> Result<Vec<f32>> {
        let _ = (hidden, labels);
        todo!()
    }
    pub fn head_loss(&self, rows: HeadRows) -> Result<HeadLoss> {
        let _ = rows;
        todo!()
    }
    /// Runs prompts; gives the last hidden row of each [sequences, hidden] and their cache.
    pub fn prefill(&self, batch: &Packed, adapter: Option<&Lora>) -> Result<(Tensor, KvCache)> {
        let _ = (batch, adapter);
        todo!()
    }
    /// Runs one new token per cached sequence; gives its hidden rows [sequences, hidden].
    pub fn decode_step(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        adapter: Option<&Lora>,
    ) -> Result<Tensor> {
        let _ = (tokens, cache, adapter);
        todo!()
    }
}
