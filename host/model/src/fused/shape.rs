//! Splitting a batch over the threads.

use crate::config::Config;
use crate::pass::{Packed, Rotations};

/// Rows of a work item: few enough that its values stay in cache.
pub(super) const BLOCK: usize = 32;

/// A batch with its rotation angles.
pub(super) struct Shape<'a> {
    pub batch: &'a Packed,
    pub rows: usize,
    pub rotations: Rotations,
}

impl<'a> Shape<'a> {
    pub fn new(config: &Config, batch: &'a Packed) -> Self {
        let positions = batch
            .sequences()
            .flat_map(|rows| (0..rows.len()).map(move |position| (position, rows.len())));
        Self { batch, rows: batch.rows(), rotations: Rotations::new(config, positions) }
    }

    /// Every (sequence rows, head), the pieces of work of attention.
    pub fn heads(&self, heads: usize) -> Vec<(std::ops::Range<usize>, usize)> {
        self.batch
            .sequences()
            .flat_map(|rows| (0..heads).map(move |head| (rows.clone(), head)))
            .collect()
    }
}
