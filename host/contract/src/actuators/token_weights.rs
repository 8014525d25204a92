//! Weights of single answer tokens.

use super::{
    Actuator, Actuators, Check, Decisions, Pick, Regularization, ranges::per_token,
    weights::pick_task,
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
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        let task = |one: &Regularization, i: usize, t: usize| {
            one.task_weight[i] * at(one.token_task_weight.as_deref(), t)
        };
        let kl = |one: &Regularization, i: usize, t: usize| {
            one.kl_weight[i] * at(one.token_kl_weight.as_deref(), t)
        };
        if decisions.all.iter().any(|one| one.token_task_weight.is_some()) {
            let factors = combined(decisions, &into.task_weight, task, pick_task);
            into.token_task_weight = Some(factors);
        }
        if decisions.all.iter().any(|one| one.token_kl_weight.is_some()) {
            let factors = combined(decisions, &into.kl_weight, kl, |_| f64::max);
            into.token_kl_weight = Some(factors);
        }
    }
}

fn tokens(samples: &[Sample]) -> usize {
    samples.iter().map(|sample| sample.answer_tokens as usize).sum()
}

/// Weight of a token, 1 where none are given.
pub(super) fn at(weights: Option<&[f32]>, token: usize) -> f64 {
    weights.map_or(1.0, |weights| f64::from(weights[token]))
}

/// Token weights such that, times the combined weight of the sample, each token has
/// the most restrictive of the policies' products, or one that is stricter by a rounding.
/// Within [0, 10], as each product is within ten times the weight it is divided by.
fn combined(
    Decisions { all, samples }: Decisions<'_>,
    weights: &[f64],
    product: impl Fn(&Regularization, usize, usize) -> f64,
    pick: fn(&Sample) -> Pick,
) -> Vec<f32> {
    let mut factors = Vec::with_capacity(tokens(samples));
    for (i, (sample, weight)) in samples.iter().zip(weights).enumerate() {
        let pick = pick(sample);
        let least = pick(0.0, 1.0) == 0.0;
        for _ in 0..sample.answer_tokens {
            let products = all.iter().map(|one| product(one, i, factors.len()));
            let wanted = products.reduce(pick).unwrap_or_default();
            factors.push(factor(wanted, *weight, least));
        }
    }
    factors
}

/// What times `weight` is `wanted`: rounded down if the least counts, else up.
fn factor(wanted: f64, weight: f64, least: bool) -> f32 {
    if weight == 0.0 {
        return 1.0;
    }
    let nearest = (wanted / weight) as f32;
    let product = f64::from(nearest) * weight;
    match least {
        true if product > wanted => nearest.next_down().max(0.0),
        false if product < wanted => nearest.next_up().min(10.0),
        _ => nearest,
    }
}
