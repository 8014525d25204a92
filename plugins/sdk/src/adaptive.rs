//! Adaptive regularization (arXiv 2602.17546): from the risk of every sample to its
//! weights, whatever predicted the risk.

use crate::assessment::{largest, mean};
use crate::bindings::{Assessment, Regularization};
use crate::regularization::score_of_risk;
use crate::settings::invalid;
use crate::smoothing::Smoothing;

/// From risk to weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// [`Regularization::affine`].
    Adaptive,
    /// [`Regularization::published_code`], with the risk as a score from 1 to 5.
    PublishedCode,
}

/// Whose risk counts for a sample: its own or the mean of its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    Sample,
    Batch,
}

/// The settings that every adaptive policy has; flatten them into the policy's own.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Adaptive {
    pub mode: Mode,
    pub b_min: f64,
    pub b_max: f64,
    pub aggregation: Aggregation,
    /// l in `s' = l s'_prev + (1 - l) s`, in [0, 1).
    pub smoothing: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            mode: Mode::Adaptive,
            b_min: 0.1,
            b_max: 0.9,
            aggregation: Aggregation::Sample,
            smoothing: 0.0,
        }
    }
}

impl Adaptive {
    /// # Errors
    /// For a value that is out of range, naming its key.
    pub fn check(&self) -> Result<(), String> {
        for (key, value) in [("b_min", self.b_min), ("b_max", self.b_max)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(invalid(key, format!("{value} is not in [0, 1]")));
            }
        }
        if self.b_min > self.b_max {
            let what = format!("{} is larger than `b_max`, {}", self.b_min, self.b_max);
            return Err(invalid("b_min", what));
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            let what = format!("{} is not in [0, 1)", self.smoothing);
            return Err(invalid("smoothing", what));
        }
        Ok(())
    }

    /// What follows from the risks of a step's samples, each in [0, 1], with the state
    /// of the step before: weights, means of risk and weights as metrics, new state.
    ///
    /// # Errors
    /// If the state is not one that this function returned.
    pub fn assess(&self, own: &[f64], state: &[u8]) -> Result<Assessment, String> {
        let mut risk = match self.aggregation {
            Aggregation::Sample => own.to_vec(),
            Aggregation::Batch => vec![mean(own); own.len()],
        };
        let mut smoothing = Smoothing::resume(self.smoothing, state)?;
        smoothing.apply(&mut risk);
        let regularization = self.regularization(&risk);
        let (kl, task) = (mean(&regularization.kl_weight), mean(&regularization.task_weight));
        let (average, worst) = (mean(&risk), largest(&risk));
        Ok(Assessment::new(risk, regularization)
            .metric("risk.mean", average)
            .metric("risk.max", worst)
            .metric("kl_weight.mean", kl)
            .metric("task_weight.mean", task)
            .state(smoothing.state()))
    }

    fn regularization(&self, risk: &[f64]) -> Regularization {
        match self.mode {
            Mode::Adaptive => Regularization::affine(risk, self.b_min, self.b_max),
            Mode::PublishedCode => {
                let scores: Vec<f64> = risk.iter().map(|s| score_of_risk(*s)).collect();
                Regularization::published_code(&scores)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_middle_of_the_range_is_half_and_half() {
        let assessment = Adaptive::default().assess(&[0.5], &[]).unwrap();
        assert_eq!(assessment.regularization.kl_weight, [0.5]);
        assert_eq!(assessment.regularization.task_weight, [0.5]);
    }

    #[test]
    fn a_batch_shares_its_mean_and_a_sample_keeps_its_own() {
        let shared = Adaptive { aggregation: Aggregation::Batch, ..Adaptive::default() };
        assert_eq!(shared.assess(&[0.0, 1.0], &[]).unwrap().risk, [0.5, 0.5]);
        let own = Adaptive::default().assess(&[0.0, 1.0], &[]).unwrap();
        assert_eq!(own.risk, [0.0, 1.0]);
    }

    #[test]
    fn a_step_without_samples_is_answered() {
        let empty = Adaptive::default().assess(&[], &[]).unwrap();
        assert!(empty.risk.is_empty() && empty.regularization.kl_weight.is_empty());
    }
}
