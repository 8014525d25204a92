//! The gradients of task and alignment samples, what is added to them, and their sum over ranks.

use host_contract::{Anchor, AnchorTarget};

use super::*;
use crate::ranks::threads;

#[test]
fn an_anchor_at_the_reference_keeps_the_weights_near_it() {
    let bench = Bench::new(4, may(Actuator::ANCHOR));
    let drift = |strength: f64| {
        bench.alone(|mut state| {
            for number in 0..6 {
                step(&mut state, number, |samples| Regularization {
                    anchor: Some(Anchor { target: AnchorTarget::Reference, strength }),
                    ..plain(samples.len())
                });
            }
            crate::parameters::distance::update_norm(
                state.spec.adapter,
                &state.spec.context.model.decoder.weights,
            )
            .expect("computed")
        })
    };
    let (free, held) = (drift(0.0), drift(100.0));
    assert!(held < free / 2.0, "{held} {free}");
}

#[test]
fn two_gradients_told_apart_make_the_one_they_were() {
    let told = Needs { gradient_conflict: true, ..Needs::new() };
    let gradient = |needs: Needs| {
        Bench::new(6, needs).alone(|mut state| {
            descend(&mut state, 0, |samples| plain(samples.len()));
            (state.gradient.clone(), state.conflict)
        })
    };
    let (whole, none) = gradient(Needs::new());
    let (joined, conflict) = gradient(told);
    assert!(none.is_none());
    assert!(distance(&whole, &joined) < 1e-5 * norm(&whole));
    // The task says of the same prompts what the alignment data refuse.
    let conflict = conflict.expect("measured");
    assert!(conflict.dot < 0.0, "{conflict:?}");
    let square = norm(&whole).powi(2);
    let sum = conflict.task_norm.powi(2) + conflict.alignment_norm.powi(2) + 2.0 * conflict.dot;
    assert!((sum / square - 1.0).abs() < 1e-4, "{sum} {square}");
}

#[test]
fn projection_leaves_nothing_that_opposes_the_alignment_gradient() {
    let bench = Bench::new(6, may(Actuator::GRADIENT_PROJECTION));
    let after = |projects: bool| {
        bench.alone(|mut state| {
            descend(&mut state, 0, |samples| Regularization {
                gradient_projection: projects,
                ..plain(samples.len())
            });
            let alignment = state.alignment.clone().expect("told apart");
            let joined = state.gradient.clone();
            let task: Vec<f32> = joined.iter().zip(&alignment).map(|(x, y)| x - y).collect();
            let dot: f64 =
                task.iter().zip(&alignment).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            dot / (norm(&task) * norm(&alignment))
        })
    };
    assert!(after(false) < -1e-2);
    assert!(after(true).abs() < 1e-5);
}

#[test]
fn the_conflict_is_of_the_step_before_and_of_no_other() {
    let told = Needs { gradient_conflict: true, ..may(Actuator::ALIGNMENT_SHARE) };
    let bench = Bench::new(4, told);
    bench.alone(|mut state| {
        step(&mut state, 0, sharing(0.5));
        assert!(state.conflict.is_none(), "a step of task data alone");
        step(&mut state, 1, sharing(0.0));
        assert!(state.conflict.is_some());
        let batch = state.next_batch(2).expect("read");
        let samples = host_data::borrowed(&batch);
        let shard = state.spec.ranks.shard(&samples, 4);
        let micro = MicroBatch::divide(&samples, 4, true);
        let measured = state.measure(2, &samples, shard, &micro).expect("measured");
        assert!(measured.context.gradient_conflict.is_some());
        // Skipped: the next step has nothing to be told.
        assert!(state.conflict.is_none());
    });
}

/// A share of every step, an anchor, a projection, ratios with a penalty, and trials.
#[test]
fn two_ranks_take_the_steps_of_one() {
    let all = Needs {
        trial_scales: vec![1.0],
        gradient_conflict: true,
        actuators: Actuator::ALIGNMENT_SHARE
            | Actuator::ANCHOR
            | Actuator::GRADIENT_PROJECTION
            | Actuator::RATIO_CLIP,
        ..clips()
    };
    let ask = |samples: &[&Sample]| {
        let mut asked = clipped(1.0, 10.0)(samples);
        let clips = asked.ratio_clip.iter_mut().flatten();
        clips.for_each(|clip| clip.variance_penalty = 0.1);
        asked.alignment_share = Some(0.5);
        asked.gradient_projection = true;
        asked.anchor = Some(Anchor { target: AnchorTarget::LastSwitch, strength: 1.0 });
        asked
    };
    let run = |bench: &Bench, ranks: &Ranks| {
        bench.with(ranks, |mut state| {
            let steps = (0..4).map(|number| step(&mut state, number, ask));
            let records: Vec<StepRecord> = steps.collect();
            assert_eq!(records[3].alignment_samples, 2);
            let losses: Vec<f64> = records.iter().map(|record| record.loss).collect();
            (losses, bits(&state.parameters), state.conflict)
        })
    };
    let mut bench = Bench::new(4, all);
    bench.config.micro_batch = Some(2);
    let alone = run(&bench, &Ranks::alone());
    bench.config.micro_batch = None;
    for of_rank in threads::run(2, |ranks| {
        let result = run(&bench, &ranks);
        ranks.end(Ok(result)).expect("ended")
    }) {
        assert_eq!(of_rank, alone);
    }
}
