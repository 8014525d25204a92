//! How a batch is cut for the threads.

use rayon::current_num_threads;

use crate::config::Config;
use crate::decoder::{Angles, Packed};

/// The parts of a batch that every block needs.
pub(super) struct Shape<'a> {
    pub batch: &'a Packed,
    pub rows: usize,
    /// Rows per piece of work: enough that packing the weights is worth it.
    pub block: usize,
    pub angles: Angles,
}

impl<'a> Shape<'a> {
    pub fn new(config: &Config, batch: &'a Packed) -> Self {
        let positions = batch
            .sequences()
            .flat_map(|rows| (0..rows.len()).map(move |position| (position, rows.len())));
        Self {
            batch,
            rows: batch.rows(),
            block: row_block(batch.rows()),
            angles: Angles::new(config, positions),
        }
    }

    /// Every (sequence rows, head), the pieces of work of attention.
    pub fn heads(&self, heads: usize) -> Vec<(std::ops::Range<usize>, usize)> {
        self.batch
            .sequences()
            .flat_map(|rows| (0..heads).map(move |head| (rows.clone(), head)))
            .collect()
    }
}

/// The result of a row does not depend on the block it is in, so this may
/// depend on the machine: as few blocks as keep every thread busy.
pub(super) fn row_block(rows: usize) -> usize {
    let threads = current_num_threads();
    let rounds = rows.div_ceil(threads * 192).max(1);
    rows.div_ceil(threads * rounds).next_multiple_of(8).max(16)
}
