//! From scores to probabilities.
//!
//! Platt, Probabilistic Outputs for Support Vector Machines (1999): a logistic
//! regression on the one score, with targets moved off 0 and 1 so that a perfectly
//! separated split doesn't give infinite confidence.

use crate::lbfgs::{self, Options};
use crate::logistic::{log_loss, sigmoid};

/// P = sigmoid(slope * score + offset).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Platt {
    /// Factor of a score.
    pub slope: f64,
    /// Added to the product.
    pub offset: f64,
}

impl Platt {
    /// Fits on scores that the classifier was not trained on.
    ///
    /// The slope is never negative: a score that ranks the classes the wrong way
    /// round carries no information, and the probability is then the share of
    /// positives.
    pub fn fit(scores: &[f64], labels: &[bool]) -> Self {
        let positives = labels.iter().filter(|label| **label).count() as f64;
        let negatives = labels.len() as f64 - positives;
        let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
        let target = |label: bool| if label { high } else { low };
        let prior = ((positives + 1.0) / (negatives + 1.0)).ln();
        // Work on scores of deviation 1, whatever scale the classifier has.
        let (centre, deviation) = centre_and_deviation(scores);
        let n = scores.len().max(1) as f64;
        let options = Options { tolerance: 1e-9, ..Options::default() };
        let found = lbfgs::minimize(vec![0.0, prior], options, |p, gradient| {
            gradient.fill(0.0);
            let mut loss = 0.0;
            for (score, label) in scores.iter().zip(labels) {
                let x = (score - centre) / deviation;
                let (logit, target) = (p[0] * x + p[1], target(*label));
                let error = (sigmoid(logit) - target) / n;
                loss += log_loss(logit, target) / n;
                gradient[0] += error * x;
                gradient[1] += error;
            }
            loss
        });
        let slope = found[0] / deviation;
        if slope > 0.0 {
            Self { slope, offset: found[1] - slope * centre }
        } else {
            Self { slope: 0.0, offset: prior }
        }
    }

    /// Probability that belongs to a score.
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.slope * score + self.offset)
    }
}

fn centre_and_deviation(scores: &[f64]) -> (f64, f64) {
    let n = scores.len().max(1) as f64;
    let centre = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|s| (s - centre).powi(2)).sum::<f64>() / n;
    let deviation = variance.sqrt();
    (centre, if deviation > 1e-12 { deviation } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn known_probabilities_are_recovered() {
        let mut random = Random::new(5);
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let score = 30.0 * random.normal() + 100.0;
            scores.push(score);
            labels.push(random.uniform() < sigmoid(0.05 * score - 4.0));
        }
        let platt = Platt::fit(&scores, &labels);
        assert!((platt.slope - 0.05).abs() < 0.003, "{platt:?}");
        assert!((platt.offset + 4.0).abs() < 0.3, "{platt:?}");
    }

    #[test]
    fn separated_scores_stay_short_of_certainty() {
        let scores = [-2.0, -1.0, 1.0, 2.0];
        let platt = Platt::fit(&scores, &[false, false, true, true]);
        let (low, high) = (platt.probability(-1.0), platt.probability(1.0));
        assert!(low > 0.05 && low < 0.4 && high > 0.6 && high < 0.95, "{low} {high}");
    }

    #[test]
    fn a_score_that_ranks_backwards_or_never_changes_gives_the_share_of_positives() {
        for scores in [[3.0, 2.0, 1.0, 0.0], [1.0; 4]] {
            let platt = Platt::fit(&scores, &[false, true, true, true]);
            assert_eq!(platt.slope, 0.0);
            assert!((platt.probability(9.0) - 4.0 / 6.0).abs() < 1e-9, "{platt:?}");
        }
    }
}
