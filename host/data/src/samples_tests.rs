#![allow(clippy::unwrap_used)]
// A list of one range is meant: one answer.
#![allow(clippy::single_range_in_vec_init)]
use std::path::Path;

use serde_json::json;

use super::*;
use crate::encode::encode_chats;
use crate::error::Place;
use crate::overlong::Overlong;
use crate::rows::parse_rows;

/// Rows of every kind, with their texts.
fn samples() -> Vec<Sample> {
    let parts = json!([{"type": "text", "text": "part"}, {"type": "text", "text": "s"}]);
    let call =
        json!([{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let rows = [
        json!({"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes"}]}),
        json!({"messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "one", "weight": 0},
            {"role": "user", "content": "and?", "name": "anna"},
            {"role": "assistant", "content": "two \u{1f9ea}", "reasoning_content": "hm"},
        ], "chat_template_kwargs": {"b": [1, 2.5], "a": {"z": 1, "y": null}}}),
        json!({"messages": [
            {"role": "user", "content": "call"},
            {"role": "assistant", "content": null, "tool_calls": call},
            {"role": "tool", "content": "done", "tool_call_id": "1"},
            {"role": "assistant", "content": "so"},
        ], "tools": [{"type": "function", "function": {"name": "f"}}], "documents": [{"text": "d"}]}),
    ];
    let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let rows = parse_rows(Path::new("task.jsonl"), lines.join("\n").into_bytes()).unwrap();
    let tokenizer = crate::demo::model().tokenizer;
    let mut samples = encode_chats(&rows, 1000, Overlong::Error, &tokenizer).unwrap().samples;
    let mut prompt = Sample::prompt_only(vec![u32::MAX, 0, 7]);
    prompt.place = Place::row(&Path::new("other.parquet").into(), usize::MAX);
    prompt.id = u64::MAX;
    samples.push(prompt);
    samples
}

fn kept(samples: &[Sample], bytes: u64) -> (Vec<Stored>, Room) {
    let mut room = Room::new(bytes);
    let stored = samples.iter().map(|sample| room.keep(sample.clone()).unwrap()).collect();
    room.settle().unwrap();
    (stored, room)
}

#[test]
fn a_sample_is_the_same_in_memory_and_in_the_file() {
    let samples = samples();
    assert!(samples[1].messages.len() == 5 && samples[2].inputs.tools.is_some());
    let all: u64 = samples.iter().map(bytes).sum();
    for (room, away) in [(0, 4), (bytes(&samples[0]), 3), (all - 1, 1), (all, 0)] {
        let (stored, room) = kept(&samples, room);
        let count = stored.iter().filter(|one| matches!(one.kept, Kept::Away(_))).count();
        assert_eq!(count, away);
        for (stored, sample) in stored.iter().zip(&samples) {
            let read = room.read(stored).unwrap();
            assert_eq!(*read, *sample);
            let known = (stored.tokens(), stored.answer_tokens(), stored.answers());
            let found = (sample.tokens.len(), sample.answer_tokens(), sample.answer.len());
            assert_eq!((known, stored.origin()), (found, sample.origin));
        }
        let told = Samples { list: stored, spill: room.spill }.about_memory();
        assert_eq!(told.is_some(), away > 0);
        let count = format!("{away} of 4 are kept in a temporary file");
        assert!(told.is_none_or(|told| told.contains(&count)));
    }
}

#[test]
fn origin_and_cut_are_those_of_the_run_wherever_a_sample_is() {
    for room in [0, 1 << 20] {
        let (mut stored, room) = kept(&samples()[..2], room);
        stored[1].set_origin(Origin::Alignment);
        let mut samples = Samples::of(room);
        let mut short = samples.read(&stored[1]).unwrap().into_owned();
        let length = short.tokens.len() - 2;
        short.cut(length);
        samples.push_cut(&stored[1], short.clone());
        let [one] = samples.list.as_slice() else { panic!("one") };
        assert_eq!((one.origin(), one.tokens()), (Origin::Alignment, length));
        assert_eq!(one.answer_tokens(), short.answer_tokens());
        assert_eq!(*samples.read(one).unwrap(), short);
    }
}

/// The guide has these figures.
#[test]
fn a_row_takes_little_beside_its_tokens() {
    assert_eq!(size_of::<Stored>(), 40);
    assert_eq!(size_of::<crate::training::Coded>(), 48);
}
