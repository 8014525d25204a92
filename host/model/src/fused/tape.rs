//! What a block's forward pass leaves for its backward pass.

use crate::config::Config;
use crate::lora::Target;

/// Values per row of one block; norms and the activation are computed again.
pub(super) struct Tape {
    /// The block's input [rows, hidden].
    pub x: Vec<f32>,
    /// Before norm and rotation, only with qk norm.
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
    pub gate: Vec<f32>,
    pub up: Vec<f32>,
    /// scaling * x A^T per target [rows, rank]; empty where there is no adapter.
    pub low: [Vec<f32>; 7],
}

impl Tape {
    pub fn new(config: &Config, rows: usize, ranks: [usize; 7]) -> Self {
        let zeros = |cols: usize| vec![0f32; rows * cols];
        let (q, kv) = (config.q_size(), config.kv_size());
        let raw = |cols: usize| zeros(if config.qk_norm { cols } else { 0 });
        Self {
            x: Vec::new(),
            q_raw: raw(q),
            k_raw: raw(kv),
            q: zeros(q),
            k: zeros(kv),
            v: zeros(kv),
            totals: Vec::new(),
            mixed: zeros(q),
            mid: zeros(config.hidden_size),
            gate: zeros(config.intermediate_size),
            up: zeros(config.intermediate_size),
            low: ranks.map(zeros),
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
            gate,
            up,
            low,
        } = self;
        let parts = [x, q_raw, k_raw, q, k, v, mixed, mid, gate, up];
        let all = parts.into_iter().chain(totals).chain(low);
        all.map(Vec::len).sum()
    }
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
