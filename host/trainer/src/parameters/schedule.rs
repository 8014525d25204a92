//! The learning rate over the steps of a run: linear warm-up, then cosine decay.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest learning rate.
    pub peak: f64,
    /// Steps of linear warm-up; the first step already moves (1/warmup of the peak).
    pub warmup: u64,
    /// Steps of the whole run.
    pub total: u64,
    /// The last learning rate as a share of the peak.
    pub floor: f64,
}

impl Schedule {
    /// The learning rate of `step`, which counts from 0.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.total.saturating_sub(self.warmup).max(1) as f64;
        let progress = ((step - self.warmup) as f64 / span).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        self.peak * (self.floor + (1.0 - self.floor) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_then_decays_to_the_floor() {
        let schedule = Schedule { peak: 1.0, warmup: 4, total: 104, floor: 0.1 };
        assert_eq!(schedule.at(0), 0.25);
        assert_eq!(schedule.at(3), 1.0);
        assert_eq!(schedule.at(4), 1.0);
        assert!((schedule.at(54) - 0.55).abs() < 1e-12);
        assert!((schedule.at(104) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn no_warm_up_starts_at_the_peak() {
        assert_eq!(Schedule { peak: 2.0, warmup: 0, total: 10, floor: 0.0 }.at(0), 2.0);
    }
}
