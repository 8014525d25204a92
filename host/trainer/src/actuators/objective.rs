//! From an assessment to the weight of every answer token.
//!
//! Loss of an optimizer step with N answer tokens (arXiv 2602.17546, with weights
//! per sample and, optionally, per token):
//!
//! ```text
//! 1/N * sum_i sum_t  task[i] * u[t] * CE[t]  +  kl[i] * w[t] * KL(ref || cur)[t]
//! ```
//!
//! N counts the tokens of the whole step, so splitting it into micro-batches
//! changes nothing but the order of a sum. With `train.loss = "samples"` every sample counts
//! alike: 1/N becomes 1 / (samples of the step * answer tokens of the sample).

use host_contract::{Divergence, Regularization};

use crate::config::LossMean;

/// The weights of one optimizer step, per answer token, in sample order, already
/// divided by N.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenWeights {
    pub task: Vec<f32>,
    pub kl: Vec<f32>,
    /// What the objective is beyond the weighted losses, where these only stand in for
    /// another loss with the same gradient.
    pub constant: f64,
}

/// What plain fine-tuning does: cross-entropy alone.
pub fn plain(offsets: &[u32], mean: LossMean) -> TokenWeights {
    let samples = offsets.len().saturating_sub(1);
    let ones = Regularization::weights(vec![1.0; samples], vec![0.0; samples]);
    token_weights(&ones, offsets, mean)
}

/// `offsets` holds the first answer token of each sample, and the total.
pub fn token_weights(
    regularization: &Regularization,
    offsets: &[u32],
    mean: LossMean,
) -> TokenWeights {
    let total = *offsets.last().unwrap_or(&0) as usize;
    let samples = offsets.len().saturating_sub(1);
    let count = |tokens: usize| match mean {
        LossMean::Tokens => total,
        LossMean::Samples => samples * tokens,
    };
    let spread = |per_sample: &[f64], per_token: Option<&Vec<f32>>| {
        let mut weights = Vec::with_capacity(total);
        for (bounds, weight) in offsets.windows(2).zip(per_sample) {
            let scale = 1.0 / count((bounds[1] - bounds[0]) as usize) as f64;
            for token in bounds[0] as usize..bounds[1] as usize {
                let factor = per_token.map_or(1.0, |list| f64::from(list[token]));
                weights.push((weight * factor * scale) as f32);
            }
        }
        weights
    };
    TokenWeights {
        task: spread(&regularization.task_weight, regularization.token_task_weight.as_ref()),
        kl: spread(&regularization.kl_weight, regularization.token_kl_weight.as_ref()),
        constant: 0.0,
    }
}

impl TokenWeights {
    /// The weights of some of the step's answer tokens; the constant belongs to none.
    pub fn slice(&self, tokens: std::ops::Range<usize>) -> Self {
        Self {
            task: self.task[tokens.clone()].to_vec(),
            kl: self.kl[tokens].to_vec(),
            constant: 0.0,
        }
    }

    pub fn needs_reference(&self) -> bool {
        self.kl.iter().any(|weight| *weight != 0.0)
    }

    /// Rewrites a KL weight on the label-only estimator as a cross-entropy weight.
    ///
    /// k2 = (ln cur - ln ref)^2 / 2 (Schulman, "Approximating KL divergence") has
    /// the gradient (ln cur - ln ref) * d ln cur, and CE has -d ln cur. So
    /// weighting CE by -w * (ln cur - ln ref) gives the same step without a full
    /// vocabulary on the reference side.
    pub fn label_divergence(&mut self, current: &[f32], reference: &[f32]) {
        let pairs = current.iter().zip(reference);
        for ((task, kl), (current, reference)) in self.task.iter_mut().zip(&mut self.kl).zip(pairs)
        {
            let distance = current - reference;
            *task -= *kl * distance;
            // w d^2 / 2, and back what -w d times the cross-entropy will say.
            let value = *kl * distance * (distance / 2.0 - current);
            self.constant += f64::from(value);
            *kl = 0.0;
        }
    }
}

/// Whether what is asked for is the loss of plain fine-tuning.
pub fn is_plain(asked: Option<&Regularization>, offsets: &[u32], mean: LossMean) -> bool {
    asked.is_none_or(|asked| {
        let all = token_weights(asked, offsets, mean);
        asked.ratio_clip.is_none() && all == plain(offsets, mean)
    })
}

pub fn wants_label_divergence(regularization: &Regularization) -> bool {
    regularization.divergence == Divergence::LabelK2
        && regularization.kl_weight.iter().any(|weight| *weight != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regularization(task: &[f64], kl: &[f64]) -> Regularization {
        Regularization::weights(task.to_vec(), kl.to_vec())
    }

    #[test]
    fn each_sample_keeps_its_own_weights_over_all_tokens_of_the_step() {
        let weights =
            token_weights(&regularization(&[0.9, 0.1], &[0.1, 0.9]), &[0, 1, 4], LossMean::Tokens);
        assert_eq!(weights.task, [0.225, 0.025, 0.025, 0.025]);
        assert_eq!(weights.kl, [0.025, 0.225, 0.225, 0.225]);
        assert!(weights.needs_reference());
    }

    #[test]
    fn task_weight_one_equals_plain_fine_tuning_bit_for_bit() {
        let weights =
            token_weights(&regularization(&[1.0, 1.0], &[0.0, 0.0]), &[0, 3, 7], LossMean::Tokens);
        assert_eq!(weights, plain(&[0, 3, 7], LossMean::Tokens));
        assert!(weights.task.iter().all(|weight| *weight == 1.0 / 7.0));
        assert!(!weights.needs_reference());
        let plain = |task: &[f64], kl: &[f64]| {
            is_plain(Some(&regularization(task, kl)), &[0, 3, 7], LossMean::Tokens)
        };
        assert!(plain(&[1.0, 1.0], &[0.0, 0.0]));
        assert!(!plain(&[1.0, 0.9], &[0.0, 0.0]) && !plain(&[1.0, 1.0], &[0.0, 0.1]));
    }

    /// Two samples of one and three tokens: a half each.
    #[test]
    fn every_sample_can_count_alike() {
        let of = |task, kl| token_weights(&regularization(task, kl), &[0, 1, 4], LossMean::Samples);
        let weights = of(&[1.0, 1.0], &[0.0, 0.6]);
        assert_eq!(weights.task, [0.5, 1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0]);
        assert_eq!(weights.kl, [0.0, 0.1, 0.1, 0.1]);
        assert_eq!(of(&[1.0, 1.0], &[0.0, 0.0]), plain(&[0, 1, 4], LossMean::Samples));
    }

    #[test]
    fn token_weights_multiply_sample_weights() {
        let mut asked = regularization(&[1.0, 0.5], &[1.0, 1.0]);
        asked.token_task_weight = Some(vec![1.0, 0.5, 2.0]);
        asked.token_kl_weight = Some(vec![0.0, 1.0, 0.0]);
        let weights = token_weights(&asked, &[0, 2, 3], LossMean::Tokens);
        let third = |value: f64| (value / 3.0) as f32;
        assert_eq!(weights.task, [third(1.0), third(0.5), third(1.0)]);
        assert_eq!(weights.kl, [0.0, third(1.0), 0.0]);
    }

    /// STAR-DSS: V = .25, CE = 2, ln cur - ln ref = .4, c = .5 gives .53; its
    /// gradient by ln cur is -V + (1 - V) c * .4 = -.1.
    #[test]
    fn the_label_divergence_has_the_gradient_of_k2() {
        let mut weights = TokenWeights { task: vec![0.25], kl: vec![0.75 * 0.5], constant: 0.0 };
        weights.label_divergence(&[-2.0], &[-2.4]);
        assert!((weights.task[0] - 0.1).abs() < 1e-6, "{weights:?}");
        let value = f64::from(weights.task[0]) * 2.0 + weights.constant;
        assert!((value - 0.53).abs() < 1e-6, "{value}");
        assert_eq!(weights.kl, [0.0]);
    }
}
