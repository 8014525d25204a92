//! Weights of single answer tokens.

use super::{
    Actuator, Actuators, Check, Decisions, Regularization, ranges::per_token, weights::fold,
};
use crate::types::Sample;

pub(super) struct TokenWeights;

impl Actuator for TokenWeights {
    fn name(&self) -> &'static str {
        "token-weights"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::TOKEN_WEIGHTS)
    }

    fn meaning(&self) -> &'static str {
        "weighs single answer tokens, so it can silence part of an answer"
    }

    fn example(&self, samples: &[Sample], r: &mut Regularization) {
        r.token_kl_weight = Some(vec![0.5; tokens(samples)]);
    }

    fn check(&self, r: &Regularization, samples: &[Sample]) -> Check {
        let tokens = tokens(samples);
        let (task, kl) = (r.token_task_weight.as_deref(), r.token_kl_weight.as_deref());
        per_token("regularization.token-task-weight", task, tokens)?;
        per_token("regularization.token-kl-weight", kl, tokens)
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        let task = r.token_task_weight.as_ref().map(|_| "token-task-weight");
        task.or(r.token_kl_weight.as_ref().map(|_| "token-kl-weight"))
    }

    /// Products with the sample's weight are combined, so that the weight of every single
    /// token is the most restrictive.
    fn merge(&self, Decisions { all, samples }: Decisions<'_>, into: &mut Regularization) {
        let task = all.iter().map(|one| (&one.task_weight, &one.token_task_weight));
        into.token_task_weight = combined(task, &into.task_weight, samples, f64::min);
        let kl = all.iter().map(|one| (&one.kl_weight, &one.token_kl_weight));
        into.token_kl_weight = combined(kl, &into.kl_weight, samples, f64::max);
    }
}

fn tokens(samples: &[Sample]) -> usize {
    samples.iter().map(|sample| sample.answer_tokens as usize).sum()
}

/// Token weights such that, times the combined weight of the sample, each token has
/// the most restrictive of the policies' products. Within [0, 10], as each product is within
/// ten times the weight it is divided by. Absent if no policy gave any.
fn combined<'a>(
    weights: impl Iterator<Item = (&'a Vec<f64>, &'a Option<Vec<f32>>)> + Clone,
    combined: &[f64],
    samples: &[Sample],
    pick: fn(f64, f64) -> f64,
) -> Option<Vec<f32>> {
    weights.clone().find(|(_, tokens)| tokens.is_some())?;
    let products = weights.map(|(per_sample, per_token)| {
        let mut token = 0;
        let mut products = Vec::new();
        for (weight, sample) in per_sample.iter().zip(samples) {
            for _ in 0..sample.answer_tokens {
                let factor = per_token.as_ref().map_or(1.0, |list| f64::from(list[token]));
                products.push(weight * factor);
                token += 1;
            }
        }
        products
    });
    let products = fold(products, pick);
    let of_token = combined
        .iter()
        .zip(samples)
        .flat_map(|(weight, sample)| std::iter::repeat_n(*weight, sample.answer_tokens as usize));
    let quotient = |(product, weight): (&f64, f64)| {
        if weight == 0.0 { 1.0 } else { (product / weight) as f32 }
    };
    Some(products.iter().zip(of_token).map(quotient).collect())
}
