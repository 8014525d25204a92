//! Splitting a batch over the threads.

use rayon::prelude::*;

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

/// A batch with its rotation angles and its noise.
pub(super) struct Shape<'a> {
    pub batch: &'a Packed,
    pub rows: usize,
    pub rotations: Rotations,
    noise: Option<RowNoise>,
}

impl<'a> Shape<'a> {
    pub fn new(config: &Config, batch: &'a Packed) -> Self {
        let positions = batch
            .sequences()
            .flat_map(|rows| (0..rows.len()).map(move |position| (position, rows.len())));
        let rotations = Rotations::new(config, positions);
        Self { batch, rows: batch.rows(), rotations, noise: None }
    }

    /// Of a training pass.
    pub fn noisy(config: &Config, batch: &'a Packed, noise: Option<&Noise>) -> Self {
        let noise = noise.map(|noise| RowNoise::new(noise, batch));
        Self { noise, ..Self::new(config, batch) }
    }

    pub fn noise(&self) -> Option<&RowNoise> {
        self.noise.as_ref()
    }

    /// The dropout on an input of a layer's adapters, where there is any.
    pub fn dropout(&self, layer: usize, input: Input) -> Option<Dropout<'_>> {
        let noise = self.noise().filter(|noise| noise.drops())?;
        Some(Dropout { noise, layer, input })
    }

    /// Every (sequence rows, head), the pieces of work of attention.
    pub fn heads(&self, heads: usize) -> Vec<(std::ops::Range<usize>, usize)> {
        self.batch
            .sequences()
            .flat_map(|rows| (0..heads).map(move |head| (rows.clone(), head)))
            .collect()
    }
}
