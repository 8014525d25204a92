//! The order of samples: seeded, bucketed by length, one optimizer step at a time.
//!
//! Order and composition depend only on the samples' lengths, the step size, the
//! seed and the epoch, never on how a step is split into micro-batches.

use std::sync::{Arc, Mutex, PoisonError};

use crate::random;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::samples::{Samples, Stored};

/// Steps within which samples are sorted by length. Larger windows waste less of
/// a step on samples of unequal length, smaller ones mix more freely.
const WINDOW_STEPS: usize = 32;

/// A position in a run: the step of the epoch that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub epoch: u64,
    pub step: usize,
}

/// An epoch's steps, each the indices of its samples.
type Epoch = Arc<Vec<Vec<usize>>>;

/// The samples of a run and the order in which it takes them.
#[derive(Debug)]
pub struct Plan {
    samples: Samples,
    batch: usize,
    seed: u64,
    total_steps: u64,
    /// The epoch asked for last.
    current: Mutex<Option<(u64, Epoch)>>,
}

impl Plan {
    /// A run over `samples`, `batch` of them per optimizer step. It takes `epochs`
    /// passes, a part of one rounded up to a step, or `max_steps` if given.
    ///
    /// # Errors
    /// [`Error::Batch`] if there are no samples or one of the numbers isn't above 0.
    pub fn new(
        samples: impl Into<Samples>,
        batch: usize,
        epochs: f64,
        max_steps: Option<u64>,
        seed: u64,
    ) -> Result<Self> {
        let wrong = |field, what: String| Err(Error::Batch { field, what });
        let samples = samples.into();
        if samples.is_empty() {
            return wrong("data", "has no samples; add rows".into());
        }
        if batch == 0 {
            return wrong("batch", "is 0; it must be at least 1".into());
        }
        if !(epochs > 0.0 && epochs.is_finite()) {
            return wrong("epochs", format!("is {epochs}; it must be above 0"));
        }
        if max_steps == Some(0) {
            return wrong("max_steps", "is 0; it must be at least 1".into());
        }
        let per_epoch = samples.len().div_ceil(batch) as f64;
        // 0.1 isn't exact in binary: keep 0.1 of 30 steps at 3, not 4.
        let of_epochs = (epochs * per_epoch - 1e-9).ceil() as u64;
        let total_steps = max_steps.unwrap_or(of_epochs);
        Ok(Self { samples, batch, seed, total_steps, current: Mutex::new(None) })
    }

    /// All samples, in the order of their rows.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Samples of one optimizer step.
    pub fn batch(&self) -> usize {
        self.batch
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Optimizer steps of one epoch; the last may have fewer samples.
    pub fn steps_per_epoch(&self) -> usize {
        self.samples.len().div_ceil(self.batch)
    }

    /// Optimizer steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.total_steps
    }

    /// Where optimizer step `step` of the run lies.
    pub fn cursor(&self, step: u64) -> Cursor {
        let per_epoch = self.steps_per_epoch() as u64;
        Cursor { epoch: step / per_epoch, step: (step % per_epoch) as usize }
    }

    /// The samples of optimizer step `step`, shortest first. Any step can be asked
    /// for, those behind the end of the run too.
    pub fn step(&self, step: u64) -> Vec<&Stored> {
        let cursor = self.cursor(step);
        let epoch = self.epoch(cursor.epoch);
        epoch[cursor.step].iter().filter_map(|index| self.samples.get(*index)).collect()
    }

    fn epoch(&self, number: u64) -> Epoch {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, epoch)) = &*current
            && *known == number
        {
            return Arc::clone(epoch);
        }
        let lengths: Vec<usize> = self.samples.iter().map(Stored::tokens).collect();
        let epoch = Arc::new(order(&lengths, self.batch, self.seed, "batches", number));
        *current = Some((number, Arc::clone(&epoch)));
        epoch
    }
}

/// The steps of an epoch, drawn from the generator called `name`: shuffles, sorts by length within windows, cuts into
/// steps and shuffles these. The remainder is taken off before sorting, so that it
/// isn't always the longest samples that make the short step at the end.
pub(super) fn order(
    lengths: &[usize],
    batch: usize,
    seed: u64,
    name: &str,
    epoch: u64,
) -> Vec<Vec<usize>> {
    let mut random = random::stream(seed, name, epoch);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.shuffle(&mut random);
    let mut remainder = order.split_off(order.len() - order.len() % batch);
    for window in order.chunks_mut(batch * WINDOW_STEPS) {
        window.sort_by_key(|sample| lengths[*sample]);
    }
    let mut steps: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
    steps.shuffle(&mut random);
    if !remainder.is_empty() {
        remainder.sort_by_key(|sample| lengths[*sample]);
        steps.push(remainder);
    }
    steps
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
