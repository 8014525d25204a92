//! Buffers of the backward pass, used again by every block.

use crate::config::Config;
use host_kernels::packed_lhs::{Format, PackedLhs};

/// All [rows, columns of the name]; d marks a gradient.
pub(super) struct Scratch {
    /// Gradient of the block's output; after the block that of its input.
    pub g: Vec<f32>,
    pub dx: Vec<f32>,
    /// The gradient of the block's output while `g` is that of the MLP's own; only where branches
    /// are finished.
    pub dblock: Vec<f32>,
    /// Likewise the gradient of attention's own output, while `dmid` is that of the stream.
    pub dout: Vec<f32>,
    pub dmid: Vec<f32>,
    pub dmixed: Vec<f32>,
    pub dq: Vec<f32>,
    pub dk: Vec<f32>,
    pub dv: Vec<f32>,
    pub dgate: Vec<f32>,
    pub dup: Vec<f32>,
    pub activated: Vec<f32>,
    pub normed_x: Vec<f32>,
    pub normed_mid: Vec<f32>,
    /// scaling * g B per target [rows, rank].
    pub low: [Vec<f32>; 7],
    /// Packed rows on the left of products, three at a time at most.
    pub left: [PackedLhs; 3],
}

impl Scratch {
    pub fn new(config: &Config, g: Vec<f32>, ranks: [usize; 7]) -> Self {
        let rows = g.len() / config.hidden_size;
        let zeros = |cols: usize| vec![0f32; rows * cols];
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let finished = usize::from(config.finishes_branches()) * hidden;
        Self {
            g,
            dx: zeros(hidden),
            dblock: zeros(finished),
            dout: zeros(finished),
            dmid: zeros(hidden),
            dmixed: zeros(config.q_size()),
            dq: zeros(config.q_size()),
            dk: zeros(config.kv_size()),
            dv: zeros(config.kv_size()),
            dgate: zeros(inner),
            dup: zeros(inner),
            activated: zeros(inner),
            normed_x: zeros(hidden),
            normed_mid: zeros(hidden),
            low: ranks.map(zeros),
            left: Default::default(),
        }
    }

    /// Values it holds but for the packed rows. A field that is left out here doesn't compile.
    pub fn values(&self) -> usize {
        let Self {
            g,
            dx,
            dblock,
            dout,
            dmid,
            dmixed,
            dq,
            dk,
            dv,
            dgate,
            dup,
            activated,
            normed_x,
            normed_mid,
            low,
            left: _,
        } = self;
        let streams = [g, dx, dblock, dout, dmid, normed_x, normed_mid];
        let parts = [dmixed, dq, dk, dv, dgate, dup, activated].into_iter().chain(streams);
        parts.chain(low).map(Vec::len).sum()
    }

    /// Values of the packed rows, when every product of a block was computed.
    pub fn packed_values(config: &Config, format: Format, rows: usize) -> usize {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.q_size(), config.kv_size());
        let deepest = [hidden.max(inner).max(q), inner.max(kv), kv];
        let values = deepest.map(|depth| PackedLhs::values(format, rows, depth));
        values.into_iter().sum()
    }
}
