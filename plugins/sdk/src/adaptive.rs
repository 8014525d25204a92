//! Adaptive regularization (arXiv 2602.17546): from the risk of every sample to its
//! weights, whatever predicted the risk.

use crate::anchors::Anchors;
use crate::assessment::{largest, mean};
use crate::bindings::{Assessment, Regularization, Signals};
use crate::bytes::{Reader, Writer};
use crate::hinge::Shape;
use crate::regularization::score_of_risk;
use crate::settings::invalid;
use crate::smoothing::Smoothing;

/// From risk to weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// [`Regularization::affine`].
    Adaptive,
    /// [`Regularization::clamped`], with the risk as a score from 1 to 5.
    Clamp,
    /// What `clamp` was called; refused.
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
    #[serde(flatten)]
    pub shape: Shape,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            mode: Mode::Adaptive,
            b_min: 0.1,
            b_max: 0.9,
            aggregation: Aggregation::Sample,
            smoothing: 0.0,
            shape: Shape::default(),
        }
    }
}

impl Adaptive {
    /// # Errors
    /// For a value that is out of range, naming its key.
    pub fn check(&self) -> Result<(), String> {
        self.shape.check()?;
        if self.mode == Mode::PublishedCode {
            let what = "is called \"clamp\" now, because the clamp is all that it has of the \
                        published code: give \"clamp\"";
            return Err(invalid("mode", what));
        }
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

    /// What follows from the risks of a step's samples, each in [0, 1] and shaped, with the
    /// state of the step before: weights, means of risk and weights as metrics, new state.
    ///
    /// # Errors
    /// If the state is not one that this function returned, or `signals` has anchors that
    /// can't be read.
    pub fn assess(
        &self,
        shaped: &[f64],
        anchors: Option<&Anchors>,
        signals: &Signals,
        state: &[u8],
    ) -> Result<Assessment, String> {
        let (own, held) = split(state, anchors)?;
        let mut risk = match self.aggregation {
            Aggregation::Sample => shaped.to_vec(),
            Aggregation::Batch => vec![mean(shaped); shaped.len()],
        };
        let mut smoothing = Smoothing::resume(self.smoothing, own)?;
        smoothing.apply(&mut risk);
        let regularization = self.regularization(&risk);
        let (kl, task) = (mean(&regularization.kl_weight), mean(&regularization.task_weight));
        let (average, worst) = (mean(&risk), largest(&risk));
        let assessment = Assessment::new(risk, regularization)
            .metric("risk.mean", average)
            .metric("risk.max", worst)
            .metric("kl_weight.mean", kl)
            .metric("task_weight.mean", task);
        let Some(anchors) = anchors else {
            return Ok(assessment.state(smoothing.state()));
        };
        let (weight, held) = anchors.weight(signals, held)?;
        let state = join(&smoothing.state(), &held);
        Ok(assessment.anchors(signals, weight)?.state(state))
    }

    fn regularization(&self, risk: &[f64]) -> Regularization {
        match self.mode {
            Mode::Adaptive => Regularization::affine(risk, self.b_min, self.b_max),
            Mode::Clamp | Mode::PublishedCode => {
                let scores: Vec<f64> = risk.iter().map(|s| score_of_risk(*s)).collect();
                Regularization::clamped(&scores)
            }
        }
    }
}

const KIND: [u8; 4] = *b"ADPT";
const VERSION: u16 = 1;

/// The states of smoothing and anchors as one; empty if both are.
fn join(own: &[u8], held: &[u8]) -> Vec<u8> {
    if own.is_empty() && held.is_empty() {
        return Vec::new();
    }
    Writer::new(KIND, VERSION).bytes(own).bytes(held).finish()
}

/// The states of smoothing and of the anchors, if there are any.
fn split<'a>(state: &'a [u8], anchors: Option<&Anchors>) -> Result<(&'a [u8], &'a [u8]), String> {
    if state.is_empty() || anchors.is_none() {
        return Ok((state, &[]));
    }
    let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
    let parts = (reader.bytes()?, reader.bytes()?);
    reader.finish()?;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use crate::fixtures;

    fn assess(adaptive: &Adaptive, risk: &[f64], state: &[u8]) -> Assessment {
        let signals = fixtures::signals(0, risk.len() as u32);
        adaptive.assess(risk, None, &signals, state).unwrap()
    }

    #[test]
    fn the_middle_of_the_range_is_half_and_half() {
        let assessment = assess(&Adaptive::default(), &[0.5], &[]);
        assert_eq!(assessment.regularization.kl_weight, [0.5]);
        assert_eq!(assessment.regularization.task_weight, [0.5]);
    }

    #[test]
    fn a_batch_shares_its_mean_and_a_sample_keeps_its_own() {
        let shared = Adaptive { aggregation: Aggregation::Batch, ..Adaptive::default() };
        assert_eq!(assess(&shared, &[0.0, 1.0], &[]).risk, [0.5, 0.5]);
        assert_eq!(assess(&Adaptive::default(), &[0.0, 1.0], &[]).risk, [0.0, 1.0]);
    }

    #[test]
    fn a_step_without_samples_is_answered() {
        let empty = assess(&Adaptive::default(), &[], &[]);
        assert!(empty.risk.is_empty() && empty.regularization.kl_weight.is_empty());
    }

    #[test]
    fn smoothing_and_anchors_both_go_on_from_their_state() {
        let adaptive = Adaptive { smoothing: 0.5, ..Adaptive::default() };
        let anchors = Anchors { target: Some(0.1), weight: 1.0, ..Anchors::default() };
        let far = fixtures::anchored(1, &[(true, 0.4)]);
        let step = |risk: f64, state: &[u8]| {
            adaptive.assess(&[risk], Some(&anchors), &far, state).unwrap()
        };
        let second = step(0.0, &step(1.0, &[]).state);
        assert_eq!(second.risk, [0.5]);
        let weight = second.regularization.anchor_weight.unwrap();
        assert!((weight - 1.5625).abs() < 1e-12, "{weight}");
        assert!(adaptive.assess(&[0.0], Some(&anchors), &far, b"else").is_err());
    }
}
