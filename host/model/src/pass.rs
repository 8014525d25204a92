//! Arguments and results of passes, for all implementations.

mod cache;
mod gains;
mod implementation;
mod memory;
mod noise;
mod overlay;
mod packed;
mod rotary;
mod subset;
mod taps;

use candle_core::Tensor;

pub use cache::KvCache;
pub(crate) use cache::{FusedCache, PlainCache, Store};
pub(crate) use gains::Gains;
pub(crate) use implementation::Implementation;
pub use implementation::Kernels;
pub use memory::{MicroBatchShape, StepMemory};
pub(crate) use noise::{Input, RowNoise};
pub use noise::{Noise, NoiseLevels};
pub use overlay::Overlay;
pub use packed::Packed;
pub(crate) use packed::check_tokens;
pub(crate) use rotary::{Angles, Rotations};
pub use subset::TokenSubset;
pub use taps::TapRows;
pub(crate) use taps::validate as check_taps;

/// Result of a forward pass.
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
    /// The token that each row is to predict.
    pub labels: &'a [u32],
    /// Weight of each row's cross entropy.
    pub task_weights: &'a [f32],
    /// Weight of each row's KL divergence.
    pub kl_weights: &'a [f32],
    /// If there, the KL is over these tokens alone.
    pub subset: Option<&'a TokenSubset>,
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
