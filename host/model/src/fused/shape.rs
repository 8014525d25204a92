//! Splitting a batch over the threads.

use rayon::prelude::*;

use super::shared_rows::{Piece, SharedRows};
use crate::config::Config;
use crate::pass::{Input, Noise, Packed, Rotations, RowNoise};

/// Rows of a work item: few enough that its values stay in cache.
pub(super) const BLOCK: usize = 32;

/// Dropout on one input of a layer's adapters.
#[derive(Clone, Copy)]
pub(super) struct Dropout<'a> {
    noise: &'a RowNoise,
    layer: usize,
    input: Input,
}

impl Dropout<'_> {
    /// On a block of rows [rows, width].
    pub fn block(&self, block: usize, width: usize, x: &mut [f32]) {
        self.noise.drop(self.layer, self.input, block * BLOCK, width, x);
    }

    /// On all rows of the batch.
    pub fn rows(&self, width: usize, x: &mut [f32]) {
        let blocks = x.par_chunks_mut(BLOCK * width).enumerate();
        blocks.for_each(|(block, x)| self.block(block, width, x));
    }
}

/// A batch with the rows that are computed, their rotation angles and their noise.
pub(super) struct Shape<'a> {
    pub batch: &'a Packed,
    pub shared: SharedRows,
    /// Computed rows.
    pub rows: usize,
    pub rotations: Rotations,
    noise: Option<RowNoise>,
}

impl<'a> Shape<'a> {
    pub fn new(config: &Config, batch: &'a Packed) -> Self {
        Self::noisy(config, batch, None)
    }

    /// Of a training pass. Noise makes rows different whose tokens are alike, and so do positions that are rotated
    /// by the length of their sequence.
    pub fn noisy(config: &Config, batch: &'a Packed, noise: Option<&Noise>) -> Self {
        let noise = noise.map(|noise| RowNoise::new(noise, batch));
        let differ = noise.is_some() || !Rotations::alike(config, batch.sequences());
        let shared = if differ { SharedRows::all(batch) } else { SharedRows::once(batch) };
        let positions = shared.tokens(batch).map(|(_, position, length)| (position, length));
        let rotations = Rotations::new(config, positions);
        Self { batch, rows: shared.count, shared, rotations, noise }
    }

    /// Tokens of the computed rows.
    pub fn tokens(&self) -> Vec<u32> {
        self.shared.tokens(self.batch).map(|(token, ..)| token).collect()
    }

    pub fn noise(&self) -> Option<&RowNoise> {
        self.noise.as_ref()
    }

    /// The dropout on an input of a layer's adapters, where there is any.
    pub fn dropout(&self, layer: usize, input: Input) -> Option<Dropout<'_>> {
        let noise = self.noise().filter(|noise| noise.drops())?;
        Some(Dropout { noise, layer, input })
    }

    /// Every (piece, head), the pieces of work of attention.
    pub fn heads(&self, heads: usize) -> Vec<(&Piece, usize)> {
        let pieces = self.shared.pieces.iter();
        pieces.flat_map(|piece| (0..heads).map(move |head| (piece, head))).collect()
    }
}
