//! Several policies at once, and the answer that stands in for a policy that failed.
//!
//! Policies don't see each other. Each assesses the step by itself, and what the host
//! does is the strictest of their answers, field by field: adding a policy can hold
//! a run back, never let it go further.

use crate::wit::{
    Action, Anchor, AnchorTarget, Assessment, Divergence, Ema, Metric, RatioClip, Reason,
    Regularization, Sample, Steering,
};

/// The assessment of a step that nobody could assess: every sample counts as risky,
/// nothing is learned from the task, and the KL term alone moves the model, back
/// towards the reference.
///
/// `code` and `message` become its reason; `state` is what the failed policy gets at
/// the next step.
pub fn strict(samples: usize, code: &str, message: &str, state: &[u8]) -> Assessment {
    Assessment {
        risk: vec![1.0; samples],
        regularization: Regularization::weights(vec![0.0; samples], vec![1.0; samples]),
        reasons: vec![Reason { sample: None, code: code.to_owned(), message: message.to_owned() }],
        metrics: Vec::new(),
        state: state.to_vec(),
    }
}

/// Combines the valid assessments of one step; `names` are the policies', in the
/// same order, and mark reasons and metrics.
///
/// Per field: the largest risk, KL weight, EMA decay, anchor strength and alignment
/// share; the smallest task weight, learning-rate scale and gradient clip; the
/// narrowest ratio clip; the strongest action (update < skip < roll-back < stop).
/// Token weights are combined as products with their sample's weight, so that the
/// weight of every single token is the strictest. A KL over the whole vocabulary is
/// stricter than one over the label token. The combined assessment has no state:
/// each policy keeps its own.
///
/// # Panics
/// If there is no assessment.
pub fn strictest(names: &[&str], assessments: &[&Assessment], samples: &[Sample]) -> Assessment {
    if let [only] = assessments {
        return (*only).clone();
    }
    let all = || assessments.iter().map(|one| &one.regularization);
    let per_sample = |field: fn(&Assessment) -> &[f64], pick: fn(f64, f64) -> f64| {
        fold(assessments.iter().map(|one| field(one).iter().copied()), pick)
    };
    let task_weight = per_sample(|one| &one.regularization.task_weight, f64::min);
    let kl_weight = per_sample(|one| &one.regularization.kl_weight, f64::max);
    let token_task_weight = per_token(
        all().map(|one| (&one.task_weight, &one.token_task_weight)),
        &task_weight,
        samples,
        f64::min,
    );
    let token_kl_weight = per_token(
        all().map(|one| (&one.kl_weight, &one.token_kl_weight)),
        &kl_weight,
        samples,
        f64::max,
    );
    let regularization = Regularization {
        action: all().map(|one| one.action).max_by_key(rank).unwrap_or(Action::Update),
        task_weight,
        kl_weight,
        token_task_weight,
        token_kl_weight,
        divergence: divergence(all()),
        learning_rate_scale: all().map(|one| one.learning_rate_scale).fold(f64::MAX, f64::min),
        gradient_clip: all().filter_map(|one| one.gradient_clip).reduce(f64::min),
        ema: all().filter_map(|one| one.ema).reduce(stronger_ema),
        anchor: all().filter_map(|one| one.anchor).reduce(stronger_anchor),
        alignment_share: all().filter_map(|one| one.alignment_share).reduce(f64::max),
        ratio_clip: ratio_clips(all()),
        gradient_projection: all().any(|one| one.gradient_projection),
        adapter_projection: all().filter_map(|one| one.adapter_projection).reduce(f64::max),
        steering: all().filter_map(|one| one.steering).reduce(weaker_steering),
    };
    let named = names.iter().zip(assessments);
    Assessment {
        risk: per_sample(|one| &one.risk, f64::max),
        regularization,
        reasons: named
            .clone()
            .flat_map(|(name, one)| one.reasons.iter().map(move |reason| marked(name, reason)))
            .collect(),
        metrics: named
            .flat_map(|(name, one)| {
                one.metrics.iter().map(move |metric| Metric {
                    name: format!("{name}/{}", metric.name),
                    value: metric.value,
                })
            })
            .collect(),
        state: Vec::new(),
    }
}

/// update < skip < roll-back < stop.
fn rank(action: &Action) -> u8 {
    match action {
        Action::Update => 0,
        Action::Skip => 1,
        Action::RollBack => 2,
        Action::Stop => 3,
    }
}

fn fold<I: Iterator<Item = f64>>(
    lists: impl Iterator<Item = I>,
    pick: fn(f64, f64) -> f64,
) -> Vec<f64> {
    lists
        .map(Iterator::collect::<Vec<f64>>)
        .reduce(|a, b| a.iter().zip(&b).map(|(a, b)| pick(*a, *b)).collect())
        .unwrap_or_default()
}

/// Token weights such that, times the combined weight of the sample, each token has
/// the strictest of the policies' products. Within [0, 10], as each product is within
/// ten times the weight it is divided by. Absent if no policy gave any.
fn per_token<'a>(
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
        products.into_iter()
    });
    let products = fold(products, pick);
    let of_token = combined
        .iter()
        .zip(samples)
        .flat_map(|(weight, sample)| std::iter::repeat_n(*weight, sample.answer_tokens as usize));
    let quotient = |(product, weight): (&f64, f64)| match weight == 0.0 {
        true => 1.0,
        false => (product / weight) as f32,
    };
    Some(products.iter().zip(of_token).map(quotient).collect())
}

/// The divergence of a policy that holds no sample counts for nothing.
fn divergence<'a>(mut all: impl Iterator<Item = &'a Regularization>) -> Divergence {
    let holds = |one: &Regularization| one.kl_weight.iter().any(|weight| *weight != 0.0);
    let mut label = false;
    let full = all.any(|one| {
        label |= holds(one) && one.divergence == Divergence::LabelK2;
        holds(one) && one.divergence == Divergence::ForwardKl
    });
    match label && !full {
        true => Divergence::LabelK2,
        false => Divergence::ForwardKl,
    }
}

fn stronger_ema(a: Ema, b: Ema) -> Ema {
    Ema { decay: a.decay.max(b.decay), in_path: a.in_path || b.in_path }
}

/// The stronger one; at equal strength the one that pulls to the reference.
fn stronger_anchor(a: Anchor, b: Anchor) -> Anchor {
    match (a.strength.total_cmp(&b.strength), a.target) {
        (std::cmp::Ordering::Less, _) => b,
        (std::cmp::Ordering::Equal, AnchorTarget::LastSwitch) => b,
        _ => a,
    }
}

fn weaker_steering(a: Steering, b: Steering) -> Steering {
    let coefficient = match a.coefficient.abs() <= b.coefficient.abs() {
        true => a.coefficient,
        false => b.coefficient,
    };
    Steering { coefficient, project: a.project || b.project, reference: a.reference || b.reference }
}

/// Sample by sample the intersection of the allowed ranges, with the smallest
/// direction; where two ranges have nothing in common, the one that ends lower.
fn ratio_clips<'a>(all: impl Iterator<Item = &'a Regularization>) -> Option<Vec<RatioClip>> {
    let lists = all.filter_map(|one| one.ratio_clip.clone());
    lists.reduce(|a, b| a.into_iter().zip(b).map(|(a, b)| narrower(a, b)).collect())
}

fn narrower(a: RatioClip, b: RatioClip) -> RatioClip {
    let high = a.high.min(b.high);
    RatioClip {
        low: a.low.max(b.low).min(high),
        high,
        direction: a.direction.min(b.direction),
        sequence: a.sequence || b.sequence,
        variance_penalty: a.variance_penalty.max(b.variance_penalty),
    }
}

fn marked(name: &str, reason: &Reason) -> Reason {
    Reason { message: format!("{name}: {}", reason.message), ..reason.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wit::Origin;

    fn samples(answer_tokens: &[u32]) -> Vec<Sample> {
        let sample = |(id, tokens): (usize, &u32)| Sample {
            id: id as u64,
            origin: Origin::Task,
            prompt_tokens: 1,
            answer_tokens: *tokens,
        };
        answer_tokens.iter().enumerate().map(sample).collect()
    }

    fn assessment(risk: &[f64], task: &[f64], kl: &[f64]) -> Assessment {
        let mut one = strict(risk.len(), "x", "because", b"");
        one.risk = risk.to_vec();
        one.regularization.task_weight = task.to_vec();
        one.regularization.kl_weight = kl.to_vec();
        one
    }

    #[test]
    fn one_policy_alone_is_left_as_it_is() {
        let one = assessment(&[0.5], &[0.5], &[0.5]);
        assert_eq!(strictest(&["a"], &[&one], &samples(&[2])), one);
    }

    #[test]
    fn each_field_is_the_strictest() {
        let mut a = assessment(&[0.1, 0.9], &[0.9, 0.1], &[0.1, 0.9]);
        a.regularization.action = Action::Skip;
        a.regularization.gradient_clip = Some(2.0);
        a.regularization.ema = Some(Ema { decay: 0.9, in_path: false });
        a.metrics = vec![Metric { name: "m".into(), value: 1.0 }];
        let mut b = assessment(&[0.3, 0.3], &[1.0, 0.05], &[0.3, 0.3]);
        b.regularization.learning_rate_scale = 0.5;
        b.regularization.gradient_clip = Some(0.5);
        b.regularization.ema = Some(Ema { decay: 0.5, in_path: true });
        b.regularization.alignment_share = Some(0.2);
        for (first, second) in [(&a, &b), (&b, &a)] {
            let all = strictest(&["a", "b"], &[first, second], &samples(&[1, 1]));
            assert_eq!(all.risk, [0.3, 0.9]);
            let r = &all.regularization;
            assert_eq!(r.task_weight, [0.9, 0.05]);
            assert_eq!(r.kl_weight, [0.3, 0.9]);
            assert_eq!(r.action, Action::Skip);
            assert_eq!(r.learning_rate_scale, 0.5);
            assert_eq!(r.gradient_clip, Some(0.5));
            assert_eq!(r.ema, Some(Ema { decay: 0.9, in_path: true }));
            assert_eq!(r.alignment_share, Some(0.2));
            assert_eq!(r.token_kl_weight, None);
            assert_eq!(all.reasons.len(), 2);
        }
        let all = strictest(&["a", "b"], &[&a, &b], &samples(&[1, 1]));
        assert_eq!(all.metrics[0].name, "a/m");
        assert_eq!(all.reasons[1].message, "b: because");
    }

    #[test]
    fn stop_beats_roll_back_beats_skip_beats_update() {
        let order = [Action::Update, Action::Skip, Action::RollBack, Action::Stop];
        for (i, weak) in order.iter().enumerate() {
            for strong in &order[i..] {
                let mut a = assessment(&[0.0], &[1.0], &[0.0]);
                let mut b = a.clone();
                a.regularization.action = *strong;
                b.regularization.action = *weak;
                let all = strictest(&["a", "b"], &[&a, &b], &samples(&[1]));
                assert_eq!(all.regularization.action, *strong);
            }
        }
    }

    /// The product of sample and token weight is what the objective uses.
    #[test]
    fn every_token_gets_the_strictest_product() {
        let mut a = assessment(&[0.0, 0.0], &[1.0, 1.0], &[0.5, 0.0]);
        a.regularization.token_kl_weight = Some(vec![1.0, 2.0, 5.0]);
        a.regularization.token_task_weight = Some(vec![0.5, 1.0, 0.0]);
        let b = assessment(&[0.0, 0.0], &[0.8, 0.8], &[0.6, 0.2]);
        let r = strictest(&["a", "b"], &[&a, &b], &samples(&[2, 1])).regularization;
        let products = |weights: &[f64], tokens: &Option<Vec<f32>>| {
            let tokens = tokens.as_ref().unwrap();
            let of_token = [weights[0], weights[0], weights[1]];
            of_token
                .iter()
                .zip(tokens)
                .map(|(w, t)| (w * f64::from(*t) * 1e6).round() / 1e6)
                .collect::<Vec<f64>>()
        };
        assert_eq!(products(&r.kl_weight, &r.token_kl_weight), [0.6, 1.0, 0.2]);
        assert_eq!(products(&r.task_weight, &r.token_task_weight), [0.5, 0.8, 0.0]);
    }

    #[test]
    fn the_divergence_is_that_of_who_holds() {
        let mut label = assessment(&[0.0], &[1.0], &[0.5]);
        label.regularization.divergence = Divergence::LabelK2;
        let idle = assessment(&[0.0], &[1.0], &[0.0]);
        let full = assessment(&[0.0], &[1.0], &[0.1]);
        let of = |all: &[&Assessment]| {
            strictest(&["a", "b"], all, &samples(&[1])).regularization.divergence
        };
        assert_eq!(of(&[&label, &idle]), Divergence::LabelK2);
        assert_eq!(of(&[&label, &full]), Divergence::ForwardKl);
        assert_eq!(of(&[&idle, &idle]), Divergence::ForwardKl);
    }

    #[test]
    fn disjoint_ratio_clips_close() {
        let clip = |low, high| RatioClip {
            low,
            high,
            direction: 1.0,
            sequence: false,
            variance_penalty: 0.0,
        };
        let meet = narrower(clip(0.1, 10.0), clip(0.5, 4.0));
        assert_eq!((meet.low, meet.high), (0.5, 4.0));
        let apart = narrower(clip(0.1, 0.2), clip(0.5, 4.0));
        assert_eq!((apart.low, apart.high), (0.2, 0.2));
    }
}
