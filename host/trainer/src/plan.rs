//! Which samples each optimizer step takes.

use crate::config::TrainConfig;
use crate::data::{Batches, Cursor, Length, Sample};
use crate::error::Result;

/// The samples of a run and their order; the same for the same seed.
pub struct Plan {
    samples: Vec<Sample>,
    steps: Vec<Vec<usize>>,
}

impl Plan {
    pub fn new(samples: Vec<Sample>, config: &TrainConfig, seed: u64) -> Result<Self> {
        let lengths = samples.iter().map(|sample| sample.tokens.len()).collect();
        let mut batches = Batches::new(lengths, config.batch, config.micro_batch(), seed)?;
        let epochs = batches.total_steps(Length::Epochs(config.epochs))?;
        let total = config.max_steps.map_or(epochs, |most| most.min(epochs));
        let mut cursor = Cursor::default();
        let steps = (0..total).map(|_| batches.next(&mut cursor)).collect();
        Ok(Self { samples, steps })
    }

    pub fn total_steps(&self) -> u64 {
        self.steps.len() as u64
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The samples of a step, which counts from 0 and is below `total_steps`.
    pub fn step(&self, step: u64) -> Vec<&Sample> {
        self.steps[step as usize].iter().map(|index| &self.samples[*index]).collect()
    }
}
