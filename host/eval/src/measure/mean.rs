//! Means with their confidence interval.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use host_data::random;

/// A mean over prompts, or per token over the tokens of prompts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    pub mean: f64,
    /// At 95%, low and high; nothing for a single prompt.
    pub interval: Option<(f64, f64)>,
    pub prompts: usize,
}

/// How often the prompts are drawn again.
const RESAMPLES: usize = 2000;

impl Mean {
    /// Of one value per prompt; nothing if there are none, or one isn't finite.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let parts: Vec<_> = values.into_iter().map(|value| (value, 1)).collect();
        Self::per_token(&parts)
    }

    /// Of a sum and a count of tokens per prompt: all sums over all counts.
    ///
    /// The interval is the percentile bootstrap (Efron 1979) over whole prompts, since
    /// the tokens of one prompt aren't independent: 2000 times as many prompts are
    /// drawn with replacement, and the middle 95% of their means is taken. The draws
    /// come from a fixed stream, so equal values have equal intervals.
    pub fn per_token(parts: &[(f64, usize)]) -> Option<Self> {
        let mean = ratio(parts.iter())?;
        let interval = (parts.len() > 1).then(|| {
            let mut random = random::stream(0, "bootstrap", 0);
            let mut means: Vec<f64> = (0..RESAMPLES)
                .filter_map(|_| {
                    let drawn = (0..parts.len()).map(|_| random.random_range(0..parts.len()));
                    ratio(drawn.map(|at| &parts[at]))
                })
                .collect();
            means.sort_by(f64::total_cmp);
            let at = |share: f64| means[(share * (means.len() - 1) as f64).round() as usize];
            (at(0.025), at(0.975))
        });
        Some(Self { mean, interval, prompts: parts.len() })
    }

    /// The exponential of mean and interval: perplexity, of a loss in nats per token;
    /// nothing if it is too large a number.
    pub fn exp(self) -> Option<Self> {
        let exp = Self {
            mean: self.mean.exp(),
            interval: self.interval.map(|(low, high)| (low.exp(), high.exp())),
            ..self
        };
        let high = exp.interval.map_or(exp.mean, |(_, high)| high);
        high.is_finite().then_some(exp)
    }
}

fn ratio<'a>(parts: impl Iterator<Item = &'a (f64, usize)>) -> Option<f64> {
    let (sum, count) = parts.fold((0.0, 0), |(sum, count), part| (sum + part.0, count + part.1));
    let mean = sum / count as f64;
    mean.is_finite().then_some(mean)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_normal_distribution_for_many_values() {
        // 0..1000 spread evenly: standard error 1/sqrt(12) / sqrt(1000) = 0.00913.
        let mean = Mean::of((0..1000).map(|n| (f64::from(n) + 0.5) / 1000.0)).unwrap();
        let (low, high) = mean.interval.unwrap();
        assert!((mean.mean - 0.5).abs() < 1e-9 && mean.prompts == 1000);
        assert!((low - (0.5 - 0.0179)).abs() < 1.5e-3, "{low}");
        assert!((high - (0.5 + 0.0179)).abs() < 1.5e-3, "{high}");
        let again = Mean::of((0..1000).map(|n| (f64::from(n) + 0.5) / 1000.0));
        assert_eq!(again, Some(mean), "a function of the values");
    }

    #[test]
    fn tokens_count_each_and_prompts_are_drawn_whole() {
        // One prompt of 1 token, one of 3: the mean is over 4 tokens.
        let mean = Mean::per_token(&[(8.0, 1), (0.0, 3)]).unwrap();
        assert_eq!(mean.mean, 2.0);
        // Two prompts, drawn twice: only the first, both, or only the second.
        assert_eq!(mean.interval, Some((0.0, 8.0)));
    }

    #[test]
    fn nothing_is_made_of_nothing_and_one_prompt_has_no_interval() {
        assert_eq!(Mean::of([]), None);
        assert_eq!(Mean::per_token(&[(0.0, 0)]), None);
        assert_eq!(Mean::of([1.0, f64::NAN]), None);
        assert_eq!(Mean::of([3.0]).unwrap().interval, None);
    }

    #[test]
    fn perplexity_is_the_exponential() {
        let loss = Mean::of([0.0, 2f64.ln() * 2.0]).unwrap();
        let perplexity = loss.exp().unwrap();
        assert!((perplexity.mean - 2.0).abs() < 1e-12);
        let (low, high) = perplexity.interval.unwrap();
        assert!((low - 1.0).abs() < 1e-12 && (high - 4.0).abs() < 1e-12);
        assert_eq!(Mean::of([1e4, 1e4]).unwrap().exp(), None);
    }
}
