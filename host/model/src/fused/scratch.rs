//! Buffers of the backward pass, used again by every block.

use super::adapter::Extent;
use super::tape::fit;
use crate::config::Config;
use host_kernels::packed_lhs::{Format, PackedLhs};
use host_kernels::product::PackedRows;

/// All [rows, columns of the name]; d marks a gradient.
pub(super) struct Scratch {
    /// Gradient of the block's output; after the block that of its input.
    pub g: Vec<f32>,
    pub dx: Vec<f32>,
    /// The gradient of the block's output while `g` is that of the MLP's own; only where branches
    /// are finished or outputs are kept.
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
    /// Empty where the MLP is made of experts, as is `normed_mid`.
    pub activated: Vec<f32>,
    pub normed_x: Vec<f32>,
    pub normed_mid: Vec<f32>,
    /// What experts give, or the gradient of what they took, in their order; empty where the MLP is dense.
    pub outputs: Vec<f32>,
    /// scaling * g B per target [rows, rank].
    pub low: [Vec<f32>; 7],
    /// Packed rows on the left of products, three at a time at most.
    pub left: [PackedLhs; 3],
    rows: usize,
}

impl Scratch {
    /// For the gradient of the last layer's output; [`Scratch::fit`] makes room for what layers differ in.
    pub fn new(config: &Config, g: Vec<f32>) -> Self {
        let rows = g.len() / config.hidden_size;
        let zeros = |cols: usize| vec![0f32; rows * cols];
        let hidden = config.hidden_size;
        Self {
            g,
            dx: zeros(hidden),
            dblock: Vec::new(),
            dout: Vec::new(),
            dmid: zeros(hidden),
            dmixed: zeros(config.q_size()),
            dq: zeros(config.q_size()),
            dk: zeros(config.kv_size()),
            dv: zeros(config.kv_size()),
            normed_x: zeros(hidden),
            dgate: Vec::new(),
            dup: Vec::new(),
            activated: Vec::new(),
            normed_mid: Vec::new(),
            outputs: Vec::new(),
            low: Default::default(),
            left: Default::default(),
            rows,
        }
    }

    /// Makes room for the MLP and the low-rank rows of a layer; in it is what was there before.
    pub fn fit(&mut self, config: &Config, layer: usize, extent: Extent) {
        let (hidden, rows) = (config.hidden_size, self.rows);
        for (values, rank) in self.low.iter_mut().zip(extent.ranks) {
            fit(values, rows * rank);
        }
        let inner = config.inner_size(layer);
        let (dense, outputs) = match config.experts(layer) {
            None => (1, 0),
            Some(experts) => (0, experts.per_token * hidden),
        };
        let finished = extent.finishes(config) * hidden;
        for (values, cols) in [
            (&mut self.dblock, finished),
            (&mut self.dout, finished),
            (&mut self.dgate, inner),
            (&mut self.dup, inner),
            (&mut self.activated, dense * inner),
            (&mut self.normed_mid, dense * hidden),
            (&mut self.outputs, outputs),
        ] {
            fit(values, rows * cols);
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
            outputs,
            low,
            left: _,
            rows: _,
        } = self;
        let rows = [g, dx, dblock, dout, dmid, dmixed, dq, dk, dv, normed_x, normed_mid];
        let inner = [dgate, dup, activated, outputs];
        rows.into_iter().chain(inner).chain(low).map(Vec::len).sum()
    }

    /// Values of the packed rows, when every product of a block was computed.
    pub fn packed_values(config: &Config, format: Format, rows: usize) -> usize {
        let (hidden, q, kv) = (config.hidden_size, config.q_size(), config.kv_size());
        let values = |rows: usize, depth: usize| PackedLhs::values(format, rows, depth);
        let mut most = [values(rows, hidden.max(q)), values(rows, kv), values(rows, kv)];
        for layer in 0..config.num_layers {
            let (packed, inner) = (packed_rows(config, layer, rows), mlp_depth(config, layer));
            most[0] = most[0].max(values(packed, inner.max(hidden)));
            most[1] = most[1].max(values(packed, inner));
        }
        most.into_iter().sum()
    }
}

/// Rows that the products of a layer's MLP take: every expert's fill up a panel, half of it in the mean.
pub(super) fn packed_rows(config: &Config, layer: usize, rows: usize) -> usize {
    config.experts(layer).map_or(rows, |experts| {
        let picks = rows * experts.per_token;
        picks + experts.count.min(picks) * PackedRows::PANEL / 2
    })
}

/// Values of a row between gate and down.
pub(super) fn mlp_depth(config: &Config, layer: usize) -> usize {
    let experts = config.experts(layer);
    experts.map_or(config.intermediate_size, |experts| experts.intermediate_size)
}
