// A list of one range is meant: one answer.
#![allow(clippy::single_range_in_vec_init)]
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::error::Place;
use crate::origin::Origin;

fn sample(tokens: Range<u32>, answer: &[Range<usize>]) -> Sample {
    let file: Arc<Path> = Path::new("task.jsonl").into();
    Sample {
        id: 1,
        origin: Origin::Task,
        messages: Arc::default(),
        inputs: Arc::default(),
        tokens: tokens.collect(),
        prompt_len: answer[0].start,
        answer: answer.to_vec(),
        place: Place::line(&file, 1),
    }
}

/// Two samples of one answer and one of two.
fn samples() -> [Sample; 3] {
    [sample(10..15, &[3..5]), sample(20..24, &[1..4]), sample(30..40, &[2..4, 7..10])]
}

#[test]
fn the_row_before_an_answer_token_predicts_it() {
    let samples = samples();
    let packed = pack(&samples.iter().collect::<Vec<_>>());
    assert_eq!(packed.packed.starts, [0, 5, 9, 19]);
    assert_eq!(packed.packed.tokens[5..9], [20, 21, 22, 23]);
    assert_eq!(packed.rows, [2, 3, 5, 6, 7, 10, 11, 15, 16, 17]);
    assert_eq!(packed.labels, [13, 14, 21, 22, 23, 32, 33, 37, 38, 39]);
    assert_eq!(packed.sample_of, [0, 0, 1, 1, 1, 2, 2, 2, 2, 2]);
    assert_eq!(packed.offsets, [0, 2, 5, 10]);
    for (row, label) in packed.rows.iter().zip(&packed.labels) {
        assert_eq!(packed.packed.tokens[*row as usize + 1], *label);
    }
}

#[test]
fn parts_of_a_step_pack_to_the_same_rows_as_the_whole() {
    let samples = samples();
    let all: Vec<&Sample> = samples.iter().collect();
    let whole = pack(&all);
    let labels: Vec<u32> = all.chunks(1).flat_map(|part| pack(part).labels).collect();
    assert_eq!(labels, whole.labels);
}

#[test]
fn positions_are_ranges_of_packed_rows() {
    let samples = samples();
    let all: Vec<&Sample> = samples.iter().collect();
    let rows = |position| tap_ranges(position, &all).rows;
    assert_eq!(rows(Position::LastPromptToken), [2..3, 5..6, 10..11]);
    assert_eq!(rows(Position::PromptMean), [0..3, 5..6, 9..11]);
    assert_eq!(rows(Position::AnswerMean), [3..5, 6..9, 11..13, 16..19]);
}

#[test]
fn means_of_several_answers_join_to_the_mean_over_their_tokens() {
    let samples = samples();
    let all: Vec<&Sample> = samples.iter().collect();
    let ranges = tap_ranges(Position::AnswerMean, &all);
    // Activation of row r: (r, 100 r).
    let value = |row: f32| [row, 100.0 * row];
    let mean = |range: &Range<usize>| value((range.start + range.end - 1) as f32 / 2.0);
    let values: Vec<f32> = ranges.rows.iter().flat_map(mean).collect();
    let of_the_last = (11 + 12 + 16 + 17 + 18) as f32 / 5.0;
    let expected: Vec<f32> = [3.5, 7.0, of_the_last].into_iter().flat_map(value).collect();
    let found = ranges.per_sample(&values, 2);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
    assert_eq!(found.len(), expected.len());
    let single = tap_ranges(Position::LastPromptToken, &all);
    assert_eq!(*single.per_sample(&[1.0; 6], 2), [1.0; 6]);
}

#[test]
fn nothing_packs_to_nothing() {
    let packed = pack(&[]);
    assert_eq!((packed.packed.starts, packed.offsets), (vec![0], vec![0]));
}
