#![allow(clippy::unwrap_used)]
use rand::RngExt;

use super::*;

/// Lengths as they are found in chat data: many short, some long.
fn lengths(count: usize, seed: u64) -> Vec<usize> {
    let mut random = random::stream(seed, "test lengths", 0);
    (0..count).map(|_| 16 + (random.random::<f64>().powi(3) * 500.0) as usize).collect()
}

fn epoch(lengths: &[usize], batch_size: usize, micro_batch: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let mut batches = Batches::new(lengths.to_vec(), batch_size, micro_batch, seed).unwrap();
    let mut cursor = Cursor { epoch, step: 0 };
    (0..batches.steps_per_epoch()).map(|_| batches.next(&mut cursor)).collect()
}

#[test]
fn every_sample_comes_once_an_epoch() {
    for (count, batch_size) in [(1, 1), (1, 8), (7, 8), (8, 8), (9, 8), (1000, 8), (777, 5), (300, 7)] {
        for seed in 0..5 {
            let lengths = lengths(count, seed);
            for number in 0..3 {
                let steps = epoch(&lengths, batch_size, 1, seed, number);
                assert_eq!(steps.len(), count.div_ceil(batch_size));
                let (last, full) = steps.split_last().unwrap();
                assert!(full.iter().all(|step| step.len() == batch_size));
                assert_eq!(last.len(), count - full.len() * batch_size);
                let mut all = steps.concat();
                all.sort_unstable();
                assert_eq!(all, (0..count).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn the_order_depends_on_seed_and_epoch_only() {
    let lengths = lengths(500, 1);
    assert_eq!(epoch(&lengths, 8, 8, 3, 0), epoch(&lengths, 8, 8, 3, 0));
    assert_ne!(epoch(&lengths, 8, 8, 3, 0), epoch(&lengths, 8, 8, 4, 0));
    assert_ne!(epoch(&lengths, 8, 8, 3, 0), epoch(&lengths, 8, 8, 3, 1));
    // Accumulation doesn't change what a step holds.
    assert_eq!(epoch(&lengths, 8, 8, 3, 0), epoch(&lengths, 8, 1, 3, 0));
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
        let random = random_steps(lengths.len(), 8, seed);
        let (bucketed, random) = (spread(&lengths, &epoch(&lengths, 8, 8, seed, 0)), spread(&lengths, &random));
        assert!(bucketed < random / 5.0, "spread {bucketed} against {random}");
    }
}

fn random_steps(count: usize, batch_size: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut random::stream(seed, "unbucketed", 0));
    order.chunks(batch_size).map(<[usize]>::to_vec).collect()
}

#[test]
fn long_and_short_steps_are_spread_over_the_epoch() {
    let lengths = lengths(2048, 1);
    let steps = epoch(&lengths, 8, 8, 1, 0);
    let tokens = |steps: &[Vec<usize>]| steps.iter().flatten().map(|sample| lengths[*sample]).sum::<usize>() as f64;
    let (first, second) = steps.split_at(steps.len() / 2);
    let ratio = tokens(first) / tokens(second);
    assert!((0.75..1.33).contains(&ratio), "{ratio}");
}

#[test]
fn a_cursor_takes_up_a_run_anywhere() {
    let lengths = lengths(50, 1);
    let mut batches = Batches::new(lengths.clone(), 8, 4, 9).unwrap();
    let mut cursor = Cursor::default();
    let mut seen = Vec::new();
    for step in 0..20 {
        assert_eq!(cursor, batches.cursor_at(step));
        seen.push((serde_json::to_string(&cursor).unwrap(), batches.next(&mut cursor)));
    }
    for (cursor, expected) in seen {
        let mut cursor: Cursor = serde_json::from_str(&cursor).unwrap();
        let mut resumed = Batches::new(lengths.clone(), 8, 4, 9).unwrap();
        assert_eq!(resumed.next(&mut cursor), expected);
    }
    // A cursor behind the end of its epoch goes on with the next.
    let mut end = Cursor { epoch: 0, step: 7 };
    assert_eq!(batches.next(&mut end), batches.next(&mut Cursor { epoch: 1, step: 0 }));
}

#[test]
fn steps_are_counted_from_epochs_or_given() {
    let batches = Batches::new(vec![1; 30], 8, 8, 0).unwrap();
    assert_eq!(batches.steps_per_epoch(), 4);
    let steps = |length| batches.total_steps(length);
    assert_eq!(steps(Length::Epochs(1.0)).unwrap(), 4);
    assert_eq!(steps(Length::Epochs(2.5)).unwrap(), 10);
    assert_eq!(steps(Length::Epochs(0.1)).unwrap(), 1);
    assert_eq!(steps(Length::Steps(7)).unwrap(), 7);
    let message = |length| steps(length).unwrap_err().to_string();
    assert!(message(Length::Epochs(0.0)).contains("epochs is 0"));
    assert!(message(Length::Epochs(f64::NAN)).contains("epochs is NaN"));
    assert!(message(Length::Steps(0)).contains("max_steps is 0"));
    let tenth = Batches::new(vec![1; 30], 1, 1, 0).unwrap();
    assert_eq!(tenth.total_steps(Length::Epochs(0.1)).unwrap(), 3);
}

#[test]
fn micro_batches_cover_a_step_in_order() {
    let ranges = |samples, micro_batch| -> Vec<Range<usize>> {
        Batches::new(vec![1; 9], 8, micro_batch, 0).unwrap().micro_batches(samples).collect()
    };
    assert_eq!(ranges(8, 8), [0..8]);
    assert_eq!(ranges(8, 3), [0..3, 3..6, 6..8]);
    assert_eq!(ranges(1, 3), [0..1]);
}

#[test]
fn senseless_sizes_are_refused() {
    let message = |count, batch, micro| Batches::new(vec![1; count], batch, micro, 0).unwrap_err().to_string();
    assert!(message(0, 8, 8).contains("data has no samples"));
    assert!(message(9, 0, 1).contains("batch_size is 0"));
    assert!(message(9, 8, 0).contains("micro_batch is 0"));
    assert!(message(9, 8, 9).contains("micro_batch is 9; it must be from 1 to batch_size = 8"));
}
