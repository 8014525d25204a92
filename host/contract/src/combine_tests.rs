//! Golden values, and what must hold for any policies.
#![allow(clippy::unwrap_used)]

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    actuators::Actuators,
    assessment::{Expected, validate_assessment},
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

/// A valid assessment with these weights.
pub(crate) fn assessment(risk: &[f64], task: &[f64], kl: &[f64]) -> Assessment {
    let mut one = fail_closed(risk.len(), "x", "because", b"");
    one.risk = risk.to_vec();
    one.regularization.task_weight = task.to_vec();
    one.regularization.kl_weight = kl.to_vec();
    one
}

fn combine(all: &[&Assessment], samples: &[Sample]) -> Assessment {
    Combiner::default().combine(&["a", "b", "c"][..all.len()], all, samples)
}

#[test]
fn one_policy_alone_is_left_as_it_is() {
    let one = assessment(&[0.5], &[0.5], &[0.5]);
    assert_eq!(combine(&[&one], &samples(&[2])), one);
}

#[test]
fn each_field_is_the_most_restrictive() {
    let mut a = assessment(&[0.1, 0.9], &[0.9, 0.1], &[0.1, 0.9]);
    a.regularization.action = Action::Skip;
    a.regularization.gradient_clip = Some(2.0);
    a.metrics = vec![Metric { name: "m".into(), value: 1.0 }];
    let mut b = assessment(&[0.3, 0.3], &[1.0, 0.05], &[0.3, 0.3]);
    b.regularization.learning_rate_scale = 0.5;
    b.regularization.gradient_clip = Some(0.5);
    b.regularization.alignment_share = Some(0.2);
    for (first, second) in [(&a, &b), (&b, &a)] {
        let all = combine(&[first, second], &samples(&[1, 1]));
        assert_eq!(all.risk, [0.3, 0.9]);
        let r = &all.regularization;
        assert_eq!(r.task_weight, [0.9, 0.05]);
        assert_eq!(r.kl_weight, [0.3, 0.9]);
        assert_eq!(r.action, Action::Skip);
        assert_eq!(r.learning_rate_scale, 0.5);
        assert_eq!(r.gradient_clip, Some(0.5));
        assert_eq!(r.alignment_share, Some(0.2));
        assert_eq!(r.token_kl_weight, None);
        assert_eq!(all.reasons.len(), 2);
    }
    let all = combine(&[&a, &b], &samples(&[1, 1]));
    assert_eq!(all.metrics[0].name, "a/m");
    assert_eq!(all.reasons[1].message, "b: because");
}

#[test]
fn stop_beats_skip_beats_update() {
    let order = [Action::Update, Action::Skip, Action::Stop];
    for (i, weak) in order.iter().enumerate() {
        for strong in &order[i..] {
            let mut a = assessment(&[0.0], &[1.0], &[0.0]);
            let mut b = a.clone();
            a.regularization.action = *strong;
            b.regularization.action = *weak;
            let all = combine(&[&a, &b], &samples(&[1]));
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
    let r = combine(&[&a, &b], &samples(&[2, 1])).regularization;
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

/// A policy that says no weight for alignment data, or skips them, doesn't take them from one
/// that learns from them.
#[test]
fn alignment_data_are_not_taken_from_who_learns_from_them() {
    let mut rows = samples(&[2, 2]);
    rows.iter_mut().for_each(|row| row.origin = Origin::Alignment);
    let learns = assessment(&[0.0, 0.0], &[1.0, 1.0], &[0.0, 0.0]);
    let mut against = assessment(&[0.0, 0.0], &[0.0, 0.0], &[0.0, 0.0]);
    let r = &mut against.regularization;
    r.token_task_weight = Some(vec![0.0; 4]);
    r.action = Action::Skip;
    r.learning_rate_scale = 0.0;
    r.gradient_clip = Some(1e-300);
    let r = combine(&[&learns, &against], &rows).regularization;
    assert_eq!((r.action, r.learning_rate_scale, r.gradient_clip), (Action::Update, 1.0, None));
    assert_eq!(r.task_weight, [1.0, 1.0]);
    assert_eq!(r.token_task_weight, Some(vec![1.0; 4]));
    // Beside task data, a step may be left out.
    rows[0].origin = Origin::Task;
    let task = assessment(&[0.0, 0.0], &[0.1, 0.0], &[0.0, 0.0]);
    let mut skips = task.clone();
    skips.regularization.action = Action::Skip;
    assert_eq!(combine(&[&task, &skips], &rows).regularization.action, Action::Skip);
}

/// Absent means that it stays as it was, for the policy that was silent.
#[test]
fn what_a_policy_said_stands_until_it_says_otherwise() {
    let said = |share, extra| {
        let mut one = assessment(&[0.0], &[1.0], &[0.0]);
        one.regularization.alignment_share = share;
        one.regularization.alignment_extra = extra;
        one
    };
    let silent = said(None, None);
    let mut combiner = Combiner::default();
    let mut step = |a: &Assessment, b: &Assessment| {
        let r = combiner.combine(&["a", "b"], &[a, b], &samples(&[1])).regularization;
        (r.alignment_share, r.alignment_extra)
    };
    assert_eq!(step(&silent, &silent), (None, None));
    assert_eq!(step(&said(Some(0.4), Some(8)), &silent), (Some(0.4), Some(8)));
    assert_eq!(step(&silent, &said(Some(0.0), Some(0))), (Some(0.4), Some(8)));
    assert_eq!(step(&silent, &silent), (Some(0.4), Some(8)));
    assert_eq!(step(&said(Some(0.1), None), &silent), (Some(0.1), Some(8)));
}

// What follows draws policies at random, and reads what is asked of every token with code of
// its own.

struct Draw(ChaCha8Rng);

impl Draw {
    fn below(&mut self, n: u32) -> u32 {
        self.0.next_u32() % n
    }

    /// Ends of the range, values that no f32 holds, and what lies between.
    fn weight(&mut self) -> f64 {
        match self.below(8) {
            0 | 1 => 0.0,
            2 => 10.0,
            3 => f64::MIN_POSITIVE,
            4 => 1.0,
            5 => 0.1,
            _ => 10.0 * f64::from(self.0.next_u32()) / f64::from(u32::MAX),
        }
    }

    fn samples(&mut self) -> Vec<Sample> {
        let count = 1 + self.below(4);
        let alignment = self.below(3);
        let origin = |draw: &mut Self| match alignment {
            0 => Origin::Task,
            1 => Origin::Alignment,
            _ if draw.below(2) == 0 => Origin::Task,
            _ => Origin::Alignment,
        };
        let sample = |id| Sample {
            id: u64::from(id),
            origin: origin(self),
            prompt_tokens: 1,
            answer_tokens: self.below(4),
        };
        (0..count).map(sample).collect()
    }

    fn some<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| value(self))
    }

    fn assessment(&mut self, samples: &[Sample]) -> Assessment {
        let n = samples.len();
        let tokens: u32 = samples.iter().map(|one| one.answer_tokens).sum();
        let weights = |draw: &mut Self| (0..n).map(|_| draw.weight()).collect::<Vec<f64>>();
        let factors = |draw: &mut Self| (0..tokens).map(|_| draw.weight() as f32).collect();
        let mut one = assessment(&vec![0.5; n], &weights(self), &weights(self));
        let r = &mut one.regularization;
        r.token_task_weight = self.some(factors);
        r.token_kl_weight = self.some(factors);
        r.action =
            [Action::Update, Action::Update, Action::Skip, Action::Stop][self.below(4) as usize];
        r.learning_rate_scale = self.weight();
        r.gradient_clip = self.some(|draw| draw.weight().max(1e-9));
        r.alignment_share = self.some(|draw| draw.weight() / 10.0);
        r.alignment_extra = self.some(|draw| draw.below(9));
        r.gradient_projection = self.below(2) == 0;
        r.adapter_projection = self.some(|draw| draw.weight() / 5.0 - 1.0);
        r.adapter_projection_count = self.some(|draw| draw.below(9));
        r.anchor_weight = self.some(Self::weight);
        r.alignment_complement = self.some(Self::weight);
        r.layer_scale = self.some(|draw| vec![draw.weight() / 10.0, draw.weight() / 10.0]);
        one
    }
}

/// Task and KL weight of every answer token, with the origin of its sample.
fn tokens(one: &Assessment, samples: &[Sample]) -> Vec<(Origin, f64, f64)> {
    let r = &one.regularization;
    let owners = samples.iter().enumerate();
    let owners = owners.flat_map(|(i, one)| std::iter::repeat_n(i, one.answer_tokens as usize));
    let of = |(token, i): (usize, usize)| {
        let factor =
            |list: &Option<Vec<f32>>| list.as_ref().map_or(1.0, |list| f64::from(list[token]));
        let task = r.task_weight[i] * factor(&r.token_task_weight);
        (samples[i].origin, task, r.kl_weight[i] * factor(&r.token_kl_weight))
    };
    owners.enumerate().map(of).collect()
}

fn is_hold_alone(tokens: &[(Origin, f64, f64)], anchored: bool) -> bool {
    let pulls = tokens.iter().any(|(origin, task, _)| *origin == Origin::Task && *task > 0.0);
    let holds = |(origin, task, kl): &(Origin, f64, f64)| {
        *kl > 0.0 || (*origin == Origin::Alignment && *task > 0.0)
    };
    !pulls && (anchored || tokens.iter().any(holds))
}

#[test]
fn no_policy_lets_another_go_further() {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(16));
    let (mut made, mut left_out, mut hold_alone) = (0, 0, 0);
    for round in 0..20_000 {
        let samples = draw.samples();
        let count = 2 + draw.below(2) as usize;
        let mut combiner = Combiner::default();
        let mut stood = vec![(None, None); count];
        for _ in 0..2 {
            let all: Vec<Assessment> = (0..count).map(|_| draw.assessment(&samples)).collect();
            let parts: Vec<&Assessment> = all.iter().collect();
            let whole = combiner.combine(&["a", "b", "c"][..count], &parts, &samples);
            let (r, found) = (&whole.regularization, tokens(&whole, &samples));
            let expected = Expected { samples: &samples, needs: &everything(), layers: 2 };
            assert_eq!(validate_assessment(&whole, expected), Ok(()), "round {round}");
            let anchored = r.anchor_weight.is_some_and(|weight| weight > 0.0);
            let alone = is_hold_alone(&found, anchored);
            made += usize::from(r.action == Action::Update);
            left_out += usize::from(r.action != Action::Update);
            hold_alone += usize::from(alone);
            for (one, stood) in all.iter().zip(&mut stood) {
                let (own, about) =
                    (&one.regularization, format!("round {round}: {one:?} {whole:?}"));
                for (is, was) in found.iter().zip(tokens(one, &samples)) {
                    match was.0 {
                        Origin::Task => assert!(is.1 <= was.1, "{about}"),
                        Origin::Alignment => assert!(is.1 >= was.1, "{about}"),
                    }
                    assert!(is.2 >= was.2, "{about}");
                }
                if alone {
                    let made = own.action != Action::Update || r.action != Action::Skip;
                    assert!(made && r.learning_rate_scale >= own.learning_rate_scale.min(1.0));
                } else {
                    assert!(r.action >= own.action, "{about}");
                    assert!(r.learning_rate_scale <= own.learning_rate_scale, "{about}");
                    let clip = own.gradient_clip.is_none_or(|own| r.gradient_clip.unwrap() <= own);
                    assert!(clip, "{about}");
                }
                assert!(r.action == Action::Stop || own.action != Action::Stop, "{about}");
                assert!(r.gradient_projection || !own.gradient_projection, "{about}");
                assert!(r.adapter_projection >= own.adapter_projection, "{about}");
                assert!(r.adapter_projection_count >= own.adapter_projection_count, "{about}");
                assert!(r.anchor_weight >= own.anchor_weight, "{about}");
                assert!(r.alignment_complement >= own.alignment_complement, "{about}");
                for (block, scale) in own.layer_scale.iter().flatten().enumerate() {
                    assert!(r.layer_scale.as_ref().unwrap()[block] <= *scale, "{about}");
                }
                *stood = (own.alignment_share.or(stood.0), own.alignment_extra.or(stood.1));
                assert!(r.alignment_share >= stood.0 && r.alignment_extra >= stood.1, "{about}");
            }
        }
    }
    assert!(made > 1000 && left_out > 1000 && hold_alone > 1000, "{made} {left_out} {hold_alone}");
}

/// Declares whatever can be combined.
fn everything() -> Needs {
    let flags = ACTUATORS.iter().filter(|one| one.alone().is_none()).filter_map(|one| one.flag());
    Needs { actuators: flags.fold(Actuators::empty(), |all, one| all | one), ..Needs::new() }
}
