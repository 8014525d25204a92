//! A set of tokens that the KL is taken over instead of the whole vocabulary.

use crate::error::{Error, Result};

/// Tokens, and the temperature at which both models are compared on them (PACT,
/// arXiv 2603.07445). With p and q the two models' softmax of logits / T over these tokens
/// alone, the divergence is T^2 KL(p || q), whose slope by the current logits is T (q - p).
#[derive(Debug, Clone, PartialEq)]
pub struct TokenSubset {
    ids: Vec<u32>,
    temperature: f32,
}

impl TokenSubset {
    /// # Errors
    /// [`Error::Batch`] if the tokens are not two or more in ascending order and within the
    /// vocabulary, or the temperature isn't above 0.
    pub fn new(ids: Vec<u32>, temperature: f64, vocabulary: usize) -> Result<Self> {
        let ascend = ids.windows(2).all(|pair| pair[0] < pair[1]);
        let within = ids.last().is_some_and(|last| (*last as usize) < vocabulary);
        let warm = temperature > 0.0 && temperature.is_finite();
        if ids.len() < 2 || !ascend || !within || !warm {
            return Err(Error::batch(
                format!("{} tokens at temperature {temperature} are no set", ids.len()),
                "give two or more ascending ids of the vocabulary and a temperature above 0",
            ));
        }
        Ok(Self { ids, temperature: temperature as f32 })
    }

    /// The tokens, ascending.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// What the logits are divided by.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// The divergence of one row, and its slope per token.
    pub(crate) fn divergence(&self, current: &[f32], reference: &[f32]) -> (f32, Vec<f32>) {
        let (q, p) = (self.log_probs(current), self.log_probs(reference));
        let temperature = f64::from(self.temperature);
        let kl: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
        let slope = |(p, q): (&f64, &f64)| (temperature * (q.exp() - p.exp())) as f32;
        let slopes = p.iter().zip(&q).map(slope).collect();
        ((temperature * temperature * kl) as f32, slopes)
    }

    fn log_probs(&self, logits: &[f32]) -> Vec<f64> {
        let of = |id: &u32| f64::from(logits[*id as usize]) / f64::from(self.temperature);
        let scaled: Vec<f64> = self.ids.iter().map(of).collect();
        let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scaled.iter().map(|value| (value - largest).exp()).sum();
        let total = largest + sum.ln();
        scaled.iter().map(|value| value - total).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tokens at T = 2: logits 2 and 0 against 0 and 0 are logits 1 and 0 against 0 and 0.
    #[test]
    fn golden_values() {
        let subset = TokenSubset::new(vec![0, 2], 2.0, 3).expect("a set");
        let (kl, slopes) = subset.divergence(&[2.0, 9.0, 0.0], &[0.0, -9.0, 0.0]);
        let q = 1f64.exp() / (1f64.exp() + 1.0);
        let expected = -4.0 * (0.5 * (2.0 * q).ln() + 0.5 * (2.0 - 2.0 * q).ln());
        assert!((f64::from(kl) - expected).abs() < 1e-6, "{kl} {expected}");
        let expected = [2.0 * (q - 0.5), 2.0 * (0.5 - q)];
        for (found, expected) in slopes.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for ids in [vec![], vec![1], vec![2, 1], vec![1, 1], vec![1, 3]] {
            assert!(TokenSubset::new(ids, 1.0, 3).is_err());
        }
        assert!(TokenSubset::new(vec![0, 1], 0.0, 3).is_err());
    }
}
