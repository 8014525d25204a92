//! Activations that a block's forward pass keeps for its backward pass.

use super::adapter::Extent;
use super::routes::Routes;
use crate::config::{Config, QkNorm, Target};

/// Values per row of one block; norms and the activation are computed again.
#[derive(Default)]
pub(super) struct Tape {
    /// The block's input [rows, hidden].
    pub x: Vec<f32>,
    /// Before norm and rotation, only with qk norm or where outputs are kept.
    pub q_raw: Vec<f32>,
    pub k_raw: Vec<f32>,
    /// After norm and rotation.
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
    /// ln sum exp per sequence, head and row.
    pub totals: Vec<Vec<f32>>,
    /// Attention output [rows, heads * head_dim].
    pub mixed: Vec<f32>,
    /// The residual stream between attention and MLP [rows, hidden].
    pub mid: Vec<f32>,
    /// What attention and MLP gave before their norm or scale; only where branches are finished
    /// or outputs are kept.
    pub attn_out: Vec<f32>,
    pub mlp_out: Vec<f32>,
    /// Of experts: in their order, [rows * experts per token, intermediate].
    pub gate: Vec<f32>,
    pub up: Vec<f32>,
    /// Where rows go; empty where the MLP is dense.
    pub routes: Routes,
    /// scaling * x A^T per target [rows, rank]; empty where there is no adapter.
    pub low: [Vec<f32>; 7],
}

impl Tape {
    /// With room for the rows of a batch in a layer.
    pub fn new(config: &Config, layer: usize, rows: usize, extent: Extent) -> Self {
        let mut tape = Self::default();
        tape.fit(config, layer, rows, extent);
        tape
    }

    /// Makes room for the rows of a batch in a layer; in it is what was there before.
    pub fn fit(&mut self, config: &Config, layer: usize, rows: usize, extent: Extent) {
        let inner = config.inner_size(layer);
        let (q, kv) = (config.q_size(), config.kv_size());
        let raw = usize::from(config.qk_norm != QkNorm::None || extent.outputs);
        let finished = extent.finishes(config) * config.hidden_size;
        for (values, cols) in [
            (&mut self.q_raw, raw * q),
            (&mut self.k_raw, raw * kv),
            (&mut self.q, q),
            (&mut self.k, kv),
            (&mut self.v, kv),
            (&mut self.mixed, q),
            (&mut self.mid, config.hidden_size),
            (&mut self.attn_out, finished),
            (&mut self.mlp_out, finished),
            (&mut self.gate, inner),
            (&mut self.up, inner),
        ] {
            fit(values, rows * cols);
        }
        match config.experts(layer) {
            Some(experts) => self.routes.fit(experts, rows),
            None => self.routes.clear(),
        }
        for (values, rank) in self.low.iter_mut().zip(extent.ranks) {
            fit(values, rows * rank);
        }
    }

    /// Values it holds. A field that is left out here doesn't compile.
    pub fn values(&self) -> usize {
        let Self {
            x,
            q_raw,
            k_raw,
            q,
            k,
            v,
            totals,
            mixed,
            mid,
            attn_out,
            mlp_out,
            gate,
            up,
            routes,
            low,
        } = self;
        let parts = [x, q_raw, k_raw, q, k, v, mixed, mid, attn_out, mlp_out, gate, up];
        let all = parts.into_iter().chain(totals).chain(low);
        routes.values() + all.map(Vec::len).sum::<usize>()
    }
}

/// Makes room for as many values, whatever they are; what is too small is given back first.
pub(super) fn fit(values: &mut Vec<f32>, count: usize) {
    if values.capacity() < count {
        *values = Vec::new();
    }
    values.resize(count, 0.0);
}

/// A buffer in blocks; an empty buffer gives empty blocks.
pub(super) struct Blocks<'a>(std::slice::Chunks<'a, f32>);

impl<'a> Blocks<'a> {
    pub fn next(&mut self) -> &'a [f32] {
        self.0.next().unwrap_or_default()
    }
}

/// As `Blocks`, to write to.
pub(super) struct BlocksMut<'a>(std::slice::ChunksMut<'a, f32>);

impl<'a> BlocksMut<'a> {
    pub fn next(&mut self) -> &'a mut [f32] {
        self.0.next().unwrap_or_default()
    }
}

/// Cuts a buffer into blocks of `size` values.
pub(super) fn blocks(values: &[f32], size: usize) -> Blocks<'_> {
    Blocks(values.chunks(size.max(1)))
}

/// As `blocks`, to write to.
pub(super) fn blocks_mut(values: &mut [f32], size: usize) -> BlocksMut<'_> {
    BlocksMut(values.chunks_mut(size.max(1)))
}

/// The low-rank buffers of one target cut into blocks of rows.
pub(super) fn low_blocks(low: &mut [Vec<f32>; 7], rows: usize, block: usize) -> [BlocksMut<'_>; 7] {
    low.each_mut().map(|values| {
        let rank = values.len() / rows;
        blocks_mut(values, block * rank)
    })
}

/// The index of a target in arrays over `Target::ALL`.
pub(super) const fn at(target: Target) -> usize {
    target as usize
}
