//! Blocks of queries, and what they see of the keys.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use crate::config::Config;

/// Values of a block of scores. About six blocks are there at once in the backward pass.
const SCORES: usize = 16 << 20;

/// Rows of a block at least, so that products don't become thin.
const FEWEST: usize = 64;

/// What a query sees of the keys, wherever its block lies. Made once per pass, so that no block waits for the host.
#[derive(Clone)]
pub(super) struct Band {
    /// Rows of a block at most.
    rows: usize,
    /// Keys a query sees at most, itself included.
    window: usize,
    /// [rows, window - 1 + rows]: 0, or minus infinity where a key isn't seen. Row i is the query of token start + i,
    /// column c the key of token start + c - (window - 1).
    mask: Tensor,
}

impl Band {
    /// For `sequences` of a length that go together.
    pub fn new(
        config: &Config,
        (sequences, length): (usize, usize),
        window: Option<usize>,
        device: &Device,
    ) -> Result<Self> {
        let window = window.unwrap_or(length).clamp(1, length);
        let keys = length.min(2 * window);
        let rows = SCORES / (sequences * config.num_heads * keys);
        Self::of_blocks(rows.clamp(FEWEST, window.max(FEWEST)).min(length), window, device)
    }

    pub fn of_blocks(rows: usize, window: usize, device: &Device) -> Result<Self> {
        let width = window - 1 + rows;
        let line = |query: usize| {
            (0..width).map(move |key| hidden_unless((query..query + window).contains(&key)))
        };
        let mask: Vec<f32> = (0..rows).flat_map(line).collect();
        Ok(Self { rows, window, mask: Tensor::from_vec(mask, (rows, width), device)? })
    }

    /// The blocks of a sequence.
    pub fn parts(&self, length: usize) -> impl Iterator<Item = Result<Part>> {
        let before = self.window - 1;
        (0..length).step_by(self.rows).map(move |start| {
            let queries = start..length.min(start + self.rows);
            let keys = start.saturating_sub(before)..queries.end;
            let mask = self.mask.narrow(0, 0, queries.len())?;
            let mask = mask.narrow(1, before.saturating_sub(start), keys.len())?;
            Ok(Part { queries, keys, mask })
        })
    }
}

pub(super) fn hidden_unless(visible: bool) -> f32 {
    if visible { 0.0 } else { f32::NEG_INFINITY }
}

/// Queries of a block and the keys that they see.
pub(super) struct Part {
    pub queries: Range<usize>,
    pub keys: Range<usize>,
    /// [queries, keys]: 0, or minus infinity where a key isn't seen.
    pub mask: Tensor,
}

impl Part {
    pub fn queries(&self, x: &Tensor) -> Result<Tensor> {
        x.narrow(2, self.queries.start, self.queries.len())?.contiguous()
    }

    pub fn keys(&self, x: &Tensor) -> Result<Tensor> {
        x.narrow(2, self.keys.start, self.keys.len())
    }
}
