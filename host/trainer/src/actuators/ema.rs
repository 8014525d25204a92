//! The moving average of the parameters.

use host_contract::{Actuators as Declared, Ema, Needs, Regularization};

use super::any_may;
use super::stage::{Point, StepActuator};
use crate::parameters::optimizer::AdamW;
use crate::records::checkpoint::{Progress, Saved};

/// avg <- d * avg + (1 - d) * theta (arXiv 2508.12531), from the parameters on that the run
/// began with, which are the reference. Empty until a policy averages.
#[derive(Default)]
pub(super) struct Average {
    declared: bool,
    /// Parameters before the first step, until the average takes them.
    start: Option<Vec<f32>>,
    average: Option<Vec<f32>>,
}

pub(super) fn new(needs: &[Needs], parameters: &[f32]) -> Box<dyn StepActuator> {
    let declared = any_may(needs, Declared::EMA);
    let start = declared.then(|| parameters.to_vec());
    Box::new(Average { declared, start, average: None })
}

impl Average {
    fn add(&mut self, ema: &Ema, parameters: &mut [f32]) {
        let decay = ema.decay as f32;
        let start = self.start.take();
        let average =
            self.average.get_or_insert_with(|| start.unwrap_or_else(|| parameters.to_vec()));
        for (average, value) in average.iter_mut().zip(parameters) {
            *average = decay * *average + (1.0 - decay) * *value;
            if ema.in_path {
                *value = *average;
            }
        }
    }
}

impl StepActuator for Average {
    fn vectors(&self) -> usize {
        usize::from(self.declared)
    }

    /// Adds the parameters of the step to the average, and trains on with the average if it
    /// is in the path.
    fn after_update(&mut self, asked: &Regularization, at: &mut Point<'_>) {
        if let Some(ema) = &asked.ema {
            self.add(ema, at.parameters);
        }
    }

    /// The average, if a policy kept one.
    fn exported(&self) -> Option<&[f32]> {
        self.average.as_deref()
    }

    fn kept(&self) -> Vec<(&'static str, &[f32])> {
        self.average.iter().map(|average| ("average", &average[..])).collect()
    }

    fn mark(&self, progress: &mut Progress) {
        progress.averaged = self.average.is_some();
    }

    fn restore(&mut self, saved: &mut Saved, size: usize, _: &AdamW) -> Result<(), String> {
        if saved.progress.averaged {
            self.average = Some(saved.take("average", size)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_starts_at_the_reference_and_follows() {
        let mut average = Average { start: Some(vec![1.0]), ..Average::default() };
        let ema = Ema { decay: 0.9, in_path: false };
        let mut values = [2.0];
        average.add(&ema, &mut values);
        assert!((average.exported().expect("kept")[0] - 1.1).abs() < 1e-6);
        assert_eq!(values, [2.0]);
    }

    #[test]
    fn in_path_writes_the_average_back() {
        let mut average = Average { start: Some(vec![1.0]), ..Average::default() };
        let ema = Ema { decay: 0.9, in_path: true };
        let mut values = [2.0];
        average.add(&ema, &mut values);
        assert!((values[0] - 1.1).abs() < 1e-6);
    }
}
