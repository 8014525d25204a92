//! Several policies at once, and the answer that stands in for a policy that failed.
//!
//! Policies don't see each other. Each assesses the step by itself, and what the host
//! does is the most restrictive of their answers, field by field: adding a policy can hold
//! a run back, never let it go further.

use crate::{
    actuators::{ACTUATORS, Decisions, Regularization, fold},
    assessment::Assessment,
    types::{Metric, Reason, Sample},
};

/// The assessment of a step that nobody could assess: every sample counts as risky,
/// nothing is learned from the task, and the KL term alone moves the model, back
/// towards the reference.
///
/// `code` and `message` become its reason; `state` is what the failed policy gets at
/// the next step.
pub fn fail_closed(samples: usize, code: &str, message: &str, state: &[u8]) -> Assessment {
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
/// weight of every single token is the most restrictive. A KL over the whole vocabulary is
/// more restrictive than one over the label token. The combined assessment has no state:
/// each policy keeps its own.
///
/// # Panics
/// If there is no assessment.
pub fn most_restrictive(
    names: &[&str],
    assessments: &[&Assessment],
    samples: &[Sample],
) -> Assessment {
    if let [only] = assessments {
        return (*only).clone();
    }
    let all: Vec<&Regularization> = assessments.iter().map(|one| &one.regularization).collect();
    let mut regularization = Regularization::weights(Vec::new(), Vec::new());
    for actuator in ACTUATORS {
        actuator.merge(Decisions { all: &all, samples }, &mut regularization);
    }
    let named = names.iter().zip(assessments);
    Assessment {
        risk: fold(assessments.iter().map(|one| one.risk.clone()), f64::max),
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

fn marked(name: &str, reason: &Reason) -> Reason {
    Reason { message: format!("{name}: {}", reason.message), ..reason.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        actuators::{Divergence, Ema},
        types::{Action, Origin},
    };

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
        let mut one = fail_closed(risk.len(), "x", "because", b"");
        one.risk = risk.to_vec();
        one.regularization.task_weight = task.to_vec();
        one.regularization.kl_weight = kl.to_vec();
        one
    }

    #[test]
    fn one_policy_alone_is_left_as_it_is() {
        let one = assessment(&[0.5], &[0.5], &[0.5]);
        assert_eq!(most_restrictive(&["a"], &[&one], &samples(&[2])), one);
    }

    #[test]
    fn each_field_is_the_most_restrictive() {
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
            let all = most_restrictive(&["a", "b"], &[first, second], &samples(&[1, 1]));
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
        let all = most_restrictive(&["a", "b"], &[&a, &b], &samples(&[1, 1]));
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
                let all = most_restrictive(&["a", "b"], &[&a, &b], &samples(&[1]));
                assert_eq!(all.regularization.action, *strong);
            }
        }
    }

    /// The product of sample and token weight is what the objective uses.
    #[test]
    fn every_token_gets_the_most_restrictive_product() {
        let mut a = assessment(&[0.0, 0.0], &[1.0, 1.0], &[0.5, 0.0]);
        a.regularization.token_kl_weight = Some(vec![1.0, 2.0, 5.0]);
        a.regularization.token_task_weight = Some(vec![0.5, 1.0, 0.0]);
        let b = assessment(&[0.0, 0.0], &[0.8, 0.8], &[0.6, 0.2]);
        let r = most_restrictive(&["a", "b"], &[&a, &b], &samples(&[2, 1])).regularization;
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
            most_restrictive(&["a", "b"], all, &samples(&[1])).regularization.divergence
        };
        assert_eq!(of(&[&label, &idle]), Divergence::LabelK2);
        assert_eq!(of(&[&label, &full]), Divergence::ForwardKl);
        assert_eq!(of(&[&idle, &idle]), Divergence::ForwardKl);
    }
}
