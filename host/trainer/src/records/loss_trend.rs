//! Whether the task is being learned: its loss at the beginning and now.

use std::collections::VecDeque;

use host_eval::report::Totals;
use serde::{Deserialize, Serialize};

use super::StepRecord;

/// Steps of a mean, at least and at most; a tenth of the planned ones between.
const LEAST: u64 = 3;
const MOST: u64 = 100;

/// Task losses of the first and of the last steps that computed one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossTrend {
    first: Vec<f64>,
    last: VecDeque<f64>,
}

impl LossTrend {
    /// Takes note of a step, and writes the means of both ends into the totals.
    pub fn add(&mut self, record: &StepRecord, totals: &mut Totals) {
        let Some(loss) = record.known_task_loss() else {
            return;
        };
        let window = record.total.div_ceil(10).clamp(LEAST, MOST) as usize;
        if self.first.len() < window {
            self.first.push(loss);
        }
        if self.last.len() == window {
            self.last.pop_front();
        }
        self.last.push_back(loss);
        let mean = |sum: f64, count: usize| Some(sum / count as f64);
        totals.first_task_loss = mean(self.first.iter().sum(), self.first.len());
        totals.last_task_loss = mean(self.last.iter().sum(), self.last.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_tenth_are_averaged_over_steps_that_computed_a_loss() {
        let (mut trend, mut totals) = (LossTrend::default(), Totals::default());
        for step in 0..40 {
            let mut record = StepRecord::new(step, 40, &[], None);
            // Every other step computes none, such as one that a policy skips.
            if step % 2 == 0 {
                record.add(0.0, &[step as f32, step as f32 + 2.0], None);
            }
            record.close(std::time::Duration::ZERO, 2);
            trend.add(&record, &mut totals);
        }
        // Losses 1, 3, 5, .. 39: the first four, and the last four.
        assert_eq!((totals.first_task_loss, totals.last_task_loss), (Some(4.0), Some(36.0)));
        let mut record = StepRecord::new(40, 40, &[], None);
        record.add(f64::NAN, &[f32::NAN], None);
        record.close(std::time::Duration::ZERO, 1);
        let before = trend.clone();
        trend.add(&record, &mut totals);
        assert_eq!(trend, before);
    }
}
