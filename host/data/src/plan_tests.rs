#![allow(clippy::unwrap_used)]
use std::path::Path;

use rand::RngExt;

use super::*;
use crate::error::Place;
use crate::origin::Origin;
use crate::sample::Sample;

/// Lengths as they are found in chat data: many short, some long.
fn lengths(count: usize, seed: u64) -> Vec<usize> {
    let mut random = random::stream(seed, "test lengths", 0);
    (0..count).map(|_| 16 + (random.random::<f64>().powi(3) * 500.0) as usize).collect()
}

/// Samples of these lengths; the id is the index.
fn samples(lengths: &[usize]) -> Vec<Sample> {
    let file: Arc<Path> = Path::new("task.jsonl").into();
    let one = |(index, length): (usize, &usize)| Sample {
        id: index as u64,
        origin: Origin::Task,
        messages: Arc::default(),
        inputs: Arc::default(),
        tokens: vec![0; *length],
        prompt_len: 1,
        answer: std::iter::once(1..*length).collect(),
        place: Place::line(&file, index + 1),
    };
    lengths.iter().enumerate().map(one).collect()
}

fn plan(count: usize, batch: usize, seed: u64) -> Plan {
    Plan::new(samples(&lengths(count, seed)), batch, 1.0, None, seed).unwrap()
}

fn ids(plan: &Plan, step: u64) -> Vec<u64> {
    plan.step(step).iter().map(|stored| plan.samples.read(stored).unwrap().id).collect()
}

#[test]
fn every_sample_comes_once_an_epoch() {
    for (count, batch) in [(1, 1), (1, 8), (7, 8), (8, 8), (9, 8), (1000, 8), (777, 5), (300, 7)] {
        for seed in 0..3 {
            let plan = plan(count, batch, seed);
            let per_epoch = count.div_ceil(batch);
            assert_eq!(plan.steps_per_epoch(), per_epoch);
            for epoch in 0..3 {
                let steps: Vec<Vec<u64>> = (0..per_epoch)
                    .map(|step| ids(&plan, (epoch * per_epoch + step) as u64))
                    .collect();
                let (last, full) = steps.split_last().unwrap();
                assert!(full.iter().all(|step| step.len() == batch));
                assert_eq!(last.len(), count - full.len() * batch);
                let mut all = steps.concat();
                all.sort_unstable();
                assert_eq!(all, (0..count as u64).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn the_order_depends_on_seed_and_epoch_only() {
    let lengths = lengths(500, 1);
    assert_eq!(order(&lengths, 8, 3, "batches", 0), order(&lengths, 8, 3, "batches", 0));
    assert_ne!(order(&lengths, 8, 3, "batches", 0), order(&lengths, 8, 4, "batches", 0));
    assert_ne!(order(&lengths, 8, 3, "batches", 0), order(&lengths, 8, 3, "batches", 1));
    // The length of the run doesn't matter, nor what was asked for before.
    let short = Plan::new(samples(&lengths), 8, 0.5, None, 3).unwrap();
    let long = Plan::new(samples(&lengths), 8, 9.0, Some(400), 3).unwrap();
    for step in [0, 70, 5, 69, 0, 400] {
        assert_eq!(ids(&short, step), ids(&long, step));
    }
}

#[test]
fn buckets_reduce_the_spread_of_lengths_within_a_step() {
    let spread = |lengths: &[usize], steps: &[Vec<usize>]| -> f64 {
        let one = |step: &Vec<usize>| {
            let of = || step.iter().map(|sample| lengths[*sample]);
            (of().max().unwrap() - of().min().unwrap()) as f64
        };
        steps.iter().map(one).sum::<f64>() / steps.len() as f64
    };
    for seed in 0..5 {
        let lengths = lengths(2000, seed);
        let (bucketed, shuffled) =
            (order(&lengths, 8, seed, "batches", 0), unbucketed(lengths.len(), 8, seed));
        let (bucketed, shuffled) = (spread(&lengths, &bucketed), spread(&lengths, &shuffled));
        assert!(bucketed < shuffled / 5.0, "spread {bucketed} against {shuffled}");
    }
}

fn unbucketed(count: usize, batch: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut random::stream(seed, "unbucketed", 0));
    order.chunks(batch).map(<[usize]>::to_vec).collect()
}

#[test]
fn long_and_short_steps_are_spread_over_the_epoch() {
    let lengths = lengths(2048, 1);
    let steps = order(&lengths, 8, 1, "batches", 0);
    let tokens = |steps: &[Vec<usize>]| {
        steps.iter().flatten().map(|sample| lengths[*sample]).sum::<usize>() as f64
    };
    let (first, second) = steps.split_at(steps.len() / 2);
    let ratio = tokens(first) / tokens(second);
    assert!((0.75..1.33).contains(&ratio), "{ratio}");
}

#[test]
fn a_step_holds_its_samples_shortest_first() {
    let plan = plan(100, 8, 1);
    for step in 0..13 {
        assert!(plan.step(step).is_sorted_by_key(|sample| sample.tokens()));
    }
}

#[test]
fn a_cursor_is_the_place_of_a_step_and_survives_writing() {
    let plan = plan(50, 8, 9);
    assert_eq!(plan.cursor(0), Cursor { epoch: 0, step: 0 });
    assert_eq!(plan.cursor(6), Cursor { epoch: 0, step: 6 });
    assert_eq!(plan.cursor(7), Cursor { epoch: 1, step: 0 });
    let written = serde_json::to_string(&plan.cursor(20)).unwrap();
    assert_eq!(serde_json::from_str::<Cursor>(&written).unwrap(), Cursor { epoch: 2, step: 6 });
}

#[test]
fn steps_are_counted_from_epochs_unless_given() {
    let total = |batch, epochs, max_steps| {
        Plan::new(samples(&[2; 30]), batch, epochs, max_steps, 0).unwrap().total_steps()
    };
    assert_eq!(total(8, 1.0, None), 4);
    assert_eq!(total(8, 2.5, None), 10);
    assert_eq!(total(8, 0.1, None), 1);
    assert_eq!(total(1, 0.1, None), 3);
    assert_eq!(total(8, 1.0, Some(7)), 7);
}

#[test]
fn senseless_numbers_are_refused() {
    let message = |count, batch, epochs, max_steps| {
        Plan::new(samples(&vec![2; count]), batch, epochs, max_steps, 0).unwrap_err().to_string()
    };
    assert!(message(0, 8, 1.0, None).contains("data has no samples"));
    assert!(message(9, 0, 1.0, None).contains("batch is 0"));
    assert!(message(9, 8, 0.0, None).contains("epochs is 0"));
    assert!(message(9, 8, f64::NAN, None).contains("epochs is NaN"));
    assert!(message(9, 8, 1.0, Some(0)).contains("max_steps is 0"));
}
