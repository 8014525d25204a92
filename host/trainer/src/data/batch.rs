//! The order of samples: seeded, bucketed by length, one optimizer step at a time.
//!
//! Order and composition depend only on the lengths, the step size, the seed and
//! the epoch, never on how a step is split into micro-batches.

use std::ops::Range;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::random;

/// Steps within which samples are sorted by length. Larger windows waste less of
/// a step on samples of unequal length, smaller ones mix more freely.
const WINDOW_STEPS: usize = 32;

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// So many passes over the data; a part of an epoch is rounded up to a step.
    Epochs(f64),
    /// So many optimizer steps.
    Steps(u64),
}

/// A position in a run: the step of the epoch that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub epoch: u64,
    pub step: usize,
}

/// The batches of a run.
#[derive(Clone, Debug)]
pub struct Batches {
    /// Tokens of every sample.
    lengths: Vec<usize>,
    batch_size: usize,
    micro_batch: usize,
    seed: u64,
    /// The plan of the epoch asked for last.
    plan: Option<(u64, Vec<Vec<usize>>)>,
}

impl Batches {
    /// Batches of `batch_size` samples per optimizer step, of which `micro_batch`
    /// go through the model at once; `lengths` are the samples' token counts.
    ///
    /// # Errors
    /// [`Error::Batch`] if there are no samples, a size is 0, or a micro-batch is
    /// larger than the step.
    pub fn new(lengths: Vec<usize>, batch_size: usize, micro_batch: usize, seed: u64) -> Result<Self> {
        let wrong = |field, what: &str| Err(Error::Batch { field, what: what.into() });
        if lengths.is_empty() {
            return wrong("data", "has no samples; add rows");
        }
        if batch_size == 0 {
            return wrong("batch_size", "is 0; it must be at least 1");
        }
        if micro_batch == 0 || micro_batch > batch_size {
            return wrong("micro_batch", &format!("is {micro_batch}; it must be from 1 to batch_size = {batch_size}"));
        }
        Ok(Self { lengths, batch_size, micro_batch, seed, plan: None })
    }

    /// Optimizer steps of one epoch; the last may have fewer samples.
    pub fn steps_per_epoch(&self) -> usize {
        self.lengths.len().div_ceil(self.batch_size)
    }

    /// Optimizer steps of a run.
    ///
    /// # Errors
    /// [`Error::Batch`] if the length is not above 0.
    pub fn total_steps(&self, length: Length) -> Result<u64> {
        match length {
            Length::Steps(0) => Err(Error::Batch { field: "max_steps", what: "is 0; it must be at least 1".into() }),
            Length::Steps(steps) => Ok(steps),
            Length::Epochs(epochs) if epochs > 0.0 && epochs.is_finite() => {
                // A share of an epoch such as 0.1 isn't exact: keep 0.1 * 30 at 3 steps.
                Ok((epochs * self.steps_per_epoch() as f64 - 1e-9).ceil() as u64)
            }
            Length::Epochs(epochs) => {
                Err(Error::Batch { field: "epochs", what: format!("is {epochs}; it must be above 0") })
            }
        }
    }

    /// The position before optimizer step `step` of the run.
    pub fn cursor_at(&self, step: u64) -> Cursor {
        let per_epoch = self.steps_per_epoch() as u64;
        Cursor { epoch: step / per_epoch, step: (step % per_epoch) as usize }
    }

    /// The samples of the step at `cursor`, shortest first, and moves the cursor
    /// on. Runs go on from epoch to epoch without end.
    pub fn next(&mut self, cursor: &mut Cursor) -> Vec<usize> {
        let per_epoch = self.steps_per_epoch();
        if cursor.step >= per_epoch {
            *cursor = Cursor { epoch: cursor.epoch + 1, step: 0 };
        }
        let batch = self.epoch(cursor.epoch)[cursor.step].clone();
        cursor.step += 1;
        if cursor.step == per_epoch {
            *cursor = Cursor { epoch: cursor.epoch + 1, step: 0 };
        }
        batch
    }

    /// How a step of `samples` samples is split: ranges of at most `micro_batch`.
    pub fn micro_batches(&self, samples: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let size = self.micro_batch;
        (0..samples).step_by(size).map(move |start| start..samples.min(start + size))
    }

    fn epoch(&mut self, epoch: u64) -> &[Vec<usize>] {
        let known = self.plan.take().filter(|(of, _)| *of == epoch);
        let plan = known.unwrap_or_else(|| (epoch, self.plan_epoch(epoch)));
        &self.plan.insert(plan).1
    }

    /// Shuffles, sorts by length within windows, cuts into steps and shuffles
    /// these. The remainder is taken off before sorting, so that it isn't always
    /// the longest samples that make the short step at the end.
    fn plan_epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut random = random::stream(self.seed, "batches", epoch);
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        order.shuffle(&mut random);
        let remainder = order.split_off(order.len() - order.len() % self.batch_size);
        for window in order.chunks_mut(self.batch_size * WINDOW_STEPS) {
            window.sort_by_key(|sample| self.lengths[*sample]);
        }
        let mut steps: Vec<Vec<usize>> = order.chunks(self.batch_size).map(<[usize]>::to_vec).collect();
        steps.shuffle(&mut random);
        if !remainder.is_empty() {
            let mut last = remainder;
            last.sort_by_key(|sample| self.lengths[*sample]);
            steps.push(last);
        }
        steps
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
