//! How the next token is chosen.

use candle_core::Tensor;
use candle_transformers::generation::{LogitsProcessor, Sampling};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// Below it only the likeliest token has a probability, and logits divided by it may overflow.
const COLDEST: f64 = 1e-6;

/// From which of the likeliest tokens one is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SamplingOptions {
    /// 0 is greedy: always the likeliest token, the first of equals.
    pub temperature: f64,
    /// Only the likeliest tokens that together have this probability.
    pub top_p: Option<f64>,
    /// Only this many of the likeliest tokens.
    pub top_k: Option<usize>,
}

impl SamplingOptions {
    /// # Errors
    /// [`Error::Batch`] for a value out of range.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(Error::batch(
                format!("temperature is {}", self.temperature),
                "give 0 (greedy) or more",
            ));
        }
        if self.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            return Err(Error::batch("top-p is outside of 0 to 1", "give a probability above 0"));
        }
        if self.top_k == Some(0) {
            return Err(Error::batch("top-k is 0", "give at least 1, or leave it out"));
        }
        Ok(())
    }
}

/// Chooses the tokens of one sequence.
pub struct Sampler {
    /// None for greedy.
    processor: Option<LogitsProcessor>,
}

impl Sampler {
    /// Draws from the ChaCha stream `stream` of `seed`; greedy ones draw nothing.
    pub fn new(options: &SamplingOptions, seed: u64, stream: u64) -> Self {
        let temperature = options.temperature;
        if temperature < COLDEST {
            return Self { processor: None };
        }
        let sampling = match (options.top_k, options.top_p) {
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        Self { processor: Some(LogitsProcessor::from_sampling(random.next_u64(), sampling)) }
    }

    /// The next token, from its logits [vocabulary].
    ///
    /// # Errors
    /// [`Error::Batch`] if they aren't finite.
    pub fn choose(&mut self, logits: &Tensor) -> Result<u32> {
        match &mut self.processor {
            Some(processor) => Ok(processor.sample(logits)?),
            None => likeliest(&logits.to_vec1::<f32>()?),
        }
    }
}

/// The likeliest token, the first of equals.
///
/// # Errors
/// [`Error::Batch`] if the largest logit isn't finite.
pub fn likeliest(logits: &[f32]) -> Result<u32> {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, logit) in (0u32..).zip(logits) {
        if *logit > best.1 {
            best = (id, *logit);
        }
    }
    if best.1.is_finite() {
        return Ok(best.0);
    }
    Err(Error::batch(
        "the model's output isn't a finite number",
        "check the weights, the adapter and the learning rate",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_of_equals_wins_and_nonsense_is_refused() {
        assert_eq!(likeliest(&[0.0, 2.0, 2.0, 1.0]).unwrap(), 1);
        assert_eq!(likeliest(&[f32::NAN, -1.0]).unwrap(), 1);
        assert!(likeliest(&[f32::NAN, f32::NAN]).is_err());
        assert!(likeliest(&[f32::INFINITY]).is_err());
    }

    #[test]
    fn temperatures_close_to_none_are_greedy() {
        let logits = Tensor::new(&[40.0f32, 40.5, -3.0], &candle_core::Device::Cpu).unwrap();
        for temperature in [0.0, 1e-300, 1e-40, 1e-7, 1e-6, 1e-3] {
            let options = SamplingOptions { temperature, ..SamplingOptions::default() };
            assert_eq!(Sampler::new(&options, 3, 4).choose(&logits).unwrap(), 1, "{temperature}");
        }
    }
}
