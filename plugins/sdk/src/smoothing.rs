//! Exponential smoothing of risk over the steps of a run.

use crate::bytes::{Reader, Writer};

const KIND: [u8; 4] = *b"SMTH";
const VERSION: u16 = 1;

/// `s' = l s'_prev + (1 - l) s`, where `s'_prev` is the mean smoothed risk of the
/// step before. The first step has none and is taken as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Smoothing {
    lambda: f64,
    previous: Option<f64>,
}

impl Smoothing {
    /// Goes on from `state`, empty at the first step. `lambda` is in [0, 1).
    ///
    /// # Errors
    /// If the state is not one that [`Smoothing::state`] wrote.
    pub fn resume(lambda: f64, state: &[u8]) -> Result<Self, String> {
        let previous = if state.is_empty() {
            None
        } else {
            let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
            let previous = reader.f64()?;
            reader.finish()?;
            if !(0.0..=1.0).contains(&previous) {
                return Err(format!("the state bytes hold a risk of {previous}, not in [0, 1]"));
            }
            Some(previous)
        };
        Ok(Self { lambda, previous })
    }

    /// Smooths the risks of one step, per sample, towards the step before, and
    /// remembers their mean.
    pub fn apply(&mut self, risk: &mut [f64]) {
        if let Some(previous) = self.previous {
            for s in risk.iter_mut() {
                *s = self.lambda * previous + (1.0 - self.lambda) * *s;
            }
        }
        if !risk.is_empty() {
            self.previous = Some(crate::assessment::mean(risk).clamp(0.0, 1.0));
        }
    }

    /// For the next step; empty when nothing has to be kept.
    pub fn state(&self) -> Vec<u8> {
        match self.previous {
            Some(previous) if self.lambda > 0.0 => {
                Writer::new(KIND, VERSION).f64(previous).finish()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn smoothing_carries_the_mean_over_in_its_state() {
        let mut first = Smoothing::resume(0.5, &[]).unwrap();
        let mut risk = [0.2, 0.6];
        first.apply(&mut risk);
        assert_eq!(risk, [0.2, 0.6]);
        let mut second = Smoothing::resume(0.5, &first.state()).unwrap();
        let mut risk = [1.0, 0.0];
        second.apply(&mut risk);
        assert!((risk[0] - 0.7).abs() < 1e-12 && (risk[1] - 0.2).abs() < 1e-12);
        let third = Smoothing::resume(0.5, &second.state()).unwrap();
        assert!((third.previous.unwrap() - 0.45).abs() < 1e-12);
    }

    #[test]
    fn without_smoothing_there_is_no_state() {
        let mut off = Smoothing::resume(0.0, &[]).unwrap();
        off.apply(&mut [0.3]);
        assert!(off.state().is_empty());
    }

    #[test]
    fn foreign_or_impossible_state_is_refused() {
        assert!(Smoothing::resume(0.5, b"something").unwrap_err().contains("state bytes"));
        let bad = Writer::new(KIND, VERSION).f64(1.5).finish();
        assert!(Smoothing::resume(0.5, &bad).unwrap_err().contains("1.5"));
    }
}
