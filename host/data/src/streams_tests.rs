#![allow(clippy::unwrap_used)]
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::error::Place;
use crate::sample::Sample;
use crate::samples::Samples;

const BATCH: usize = 8;

/// A plan over so many samples of each origin; alignment ids begin at 1000.
fn plan(task: usize, alignment: usize, seed: u64) -> Plan {
    let file: Arc<Path> = Path::new("rows.jsonl").into();
    let sample = |id: usize, origin| Sample {
        id: id as u64,
        origin,
        tokens: vec![0; 3 + id * 7 % 40],
        prompt_len: 1,
        answer: std::iter::once(1..3).collect(),
        messages: Arc::default(),
        inputs: Arc::default(),
        place: Place::line(&file, id + 1),
    };
    let task = (0..task).map(|id| sample(id, Origin::Task));
    let alignment = (1000..1000 + alignment).map(|id| sample(id, Origin::Alignment));
    Plan::new(task.chain(alignment).collect::<Vec<_>>(), BATCH, 1.0, None, seed).unwrap()
}

fn ids(samples: &[&Stored]) -> Vec<u64> {
    let all = Samples::default();
    samples.iter().map(|stored| all.read(stored).unwrap().id).collect()
}

fn alignment(samples: &[&Stored]) -> usize {
    let origins = samples.iter().map(|sample| sample.origin());
    origins.filter(|one| *one == Origin::Alignment).count()
}

#[test]
fn without_a_share_the_steps_are_those_of_the_task_data_alone() {
    let (both, alone) = (plan(64, 20, 3), plan(64, 0, 3));
    let mut streams = Streams::new(&both).unwrap();
    for step in 0..24 {
        assert_eq!(ids(&streams.next_batch()), ids(&alone.step(step)), "step {step}");
    }
}

#[test]
fn a_share_holds_over_several_steps() {
    let plan = plan(100, 30, 1);
    let mut streams = Streams::new(&plan).unwrap();
    for (share, steps, expected) in [(0.1, 10, 8), (0.5, 3, 12), (0.05, 20, 8), (0.33, 100, 264)] {
        assert!(streams.set_share(share));
        let drawn: Vec<_> = (0..steps).map(|_| streams.next_batch()).collect();
        assert!(drawn.iter().all(|step| step.len() == BATCH));
        let found: usize = drawn.iter().map(|step| alignment(step)).sum();
        assert_eq!(found, expected, "share {share}");
        let least = drawn.iter().map(|step| alignment(step)).min().unwrap();
        let most = drawn.iter().map(|step| alignment(step)).max().unwrap();
        assert!(most - least <= 1, "share {share}: {least} to {most}");
    }
}

#[test]
fn alternation_takes_whole_steps_from_one_stream_and_the_other_waits() {
    let plan = plan(40, 24, 5);
    let mut streams = Streams::new(&plan).unwrap();
    let (mut task, mut safe) = (Vec::new(), Vec::new());
    for step in 0..8 {
        let share = f64::from(step % 2);
        assert_eq!(streams.set_share(share), step > 0);
        let drawn = streams.next_batch();
        assert_eq!(alignment(&drawn), if share == 1.0 { BATCH } else { 0 });
        if share == 1.0 { safe.extend(ids(&drawn)) } else { task.extend(ids(&drawn)) }
    }
    // An epoch of each, every sample at most once.
    for mut drawn in [task, safe[..24].to_vec()] {
        let count = drawn.len();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), count);
    }
}

#[test]
fn a_mix_that_was_kept_goes_on_where_it_was() {
    let plan = plan(50, 11, 9);
    let run = |streams: &mut Streams, steps: std::ops::Range<u32>| -> Vec<Vec<u64>> {
        let one = |step| {
            streams.set_share(f64::from(step % 5) / 7.0);
            ids(&streams.next_batch())
        };
        steps.map(one).collect()
    };
    let mut whole = Streams::new(&plan).unwrap();
    let expected = run(&mut whole, 0..40);
    for stop in [1, 7, 23] {
        let mut first = Streams::new(&plan).unwrap();
        let mut found = run(&mut first, 0..stop);
        let kept = serde_json::to_string(&first.mix).unwrap();
        let mut second = Streams::new(&plan).unwrap();
        second.mix = serde_json::from_str(&kept).unwrap();
        found.extend(run(&mut second, stop..40));
        assert_eq!(found, expected, "stopped before step {stop}");
        assert_eq!(second.mix, whole.mix);
    }
    let other_plan = self::plan(50, 11, 10);
    let mut other = Streams::new(&other_plan).unwrap();
    assert_ne!(run(&mut other, 0..40), expected);
}

#[test]
fn a_stream_with_fewer_samples_than_a_step_goes_round() {
    let plan = plan(9, 2, 1);
    let mut streams = Streams::new(&plan).unwrap();
    streams.set_share(1.0);
    let mut drawn = ids(&streams.next_batch());
    drawn.sort_unstable();
    assert_eq!(drawn, [1000, 1000, 1000, 1000, 1001, 1001, 1001, 1001]);
}

#[test]
fn rows_of_one_origin_make_no_streams() {
    assert!(Streams::new(&plan(9, 0, 1)).is_none());
    assert!(Streams::new(&plan(0, 9, 1)).is_none());
    assert!(Streams::new(&plan(9, 1, 1)).is_some());
}

#[test]
fn extra_samples_come_from_alignment_in_rounds_of_their_own() {
    let plan = plan(5, 3, 2);
    let mut extra = ExtraStream::new(&plan).unwrap();
    assert!(extra.next_batch().is_empty());
    extra.extra.count = 3;
    for _ in 0..4 {
        let mut drawn = ids(&extra.next_batch());
        drawn.sort_unstable();
        assert_eq!(drawn, [1000, 1001, 1002]);
    }
    extra.extra.count = 2;
    let lengths: Vec<usize> = extra.next_batch().iter().map(|one| one.tokens()).collect();
    assert!(lengths.is_sorted(), "{lengths:?}");
}

#[test]
fn extra_samples_go_on_from_where_they_were_left() {
    let plan = plan(2, 5, 2);
    let (mut whole, mut first) =
        (ExtraStream::new(&plan).unwrap(), ExtraStream::new(&plan).unwrap());
    (whole.extra.count, first.extra.count) = (3, 3);
    for _ in 0..4 {
        assert_eq!(ids(&whole.next_batch()), ids(&first.next_batch()));
    }
    let mut second = ExtraStream::new(&plan).unwrap();
    second.extra = first.extra;
    for _ in 0..6 {
        assert_eq!(ids(&whole.next_batch()), ids(&second.next_batch()));
    }
}

/// What a policy that doesn't mix is used to is the least.
#[test]
fn the_mixture_of_the_data_is_never_lowered() {
    let plan = plan(60, 20, 1);
    let mut streams = Streams::new(&plan).unwrap().as_in_the_data();
    assert!(streams.set_share(0.0));
    assert!(!streams.set_share(0.1));
    assert_eq!(alignment(&streams.next_batch()), 2);
    assert!(streams.set_share(0.5));
    assert_eq!(alignment(&streams.next_batch()), 4);
}
