//! The messages of an event file in protobuf's wire format: `tensorflow.Event` with what it
//! holds (event.proto, summary.proto of TensorBoard), and those of its plugins for texts and
//! hyperparameters.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::About;

/// Fields of `Event`.
const WALL_TIME: u32 = 1;
const STEP: u32 = 2;
const FILE_VERSION: u32 = 3;
const SUMMARY: u32 = 5;
const SESSION_LOG: u32 = 7;

/// Of `Summary` and `Summary.Value`.
const VALUE: u32 = 1;
const TAG: u32 = 1;
const SIMPLE_VALUE: u32 = 2;
const TENSOR: u32 = 8;
const METADATA: u32 = 9;

/// `DataType` of texts.
const DT_STRING: u64 = 7;

/// The first message of a file.
pub fn version(at: SystemTime) -> Vec<u8> {
    let mut event = event(at, 0);
    event.bytes(FILE_VERSION, b"brain.Event:2");
    event.0
}

/// `SessionLog` START: what an earlier file has of this step and of later ones is void.
pub fn restart(at: SystemTime, step: u64) -> Vec<u8> {
    let mut log = Message::default();
    log.number(1, 1);
    let mut event = event(at, step);
    event.bytes(SESSION_LOG, &log.0);
    event.0
}

/// The numbers of a step.
pub fn scalars(at: SystemTime, step: u64, values: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Message::default();
    for (name, value) in values {
        let mut one = Message::default();
        one.bytes(TAG, name.as_bytes());
        one.float(SIMPLE_VALUE, *value as f32);
        summary.bytes(VALUE, &one.0);
    }
    summarized(at, step, &summary)
}

/// Markdown, which TensorBoard shows under TEXT.
pub fn text(at: SystemTime, step: u64, name: &str, text: &str) -> Vec<u8> {
    let mut size = Message::default();
    size.number(1, 1);
    let mut shape = Message::default();
    shape.bytes(2, &size.0);
    let mut tensor = Message::default();
    tensor.number(1, DT_STRING);
    tensor.bytes(2, &shape.0);
    tensor.bytes(8, text.as_bytes());
    let mut one = Message::default();
    one.bytes(TAG, format!("{name}/text_summary").as_bytes());
    one.bytes(TENSOR, &tensor.0);
    // TextPluginData of version 0 has no bytes.
    one.bytes(METADATA, &metadata("text", &[]));
    let mut summary = Message::default();
    summary.bytes(VALUE, &one.0);
    summarized(at, step, &summary)
}

/// What the plugin HPARAMS compares runs by: the configuration, as `SessionStartInfo`.
pub fn session_start(at: SystemTime, about: &About) -> Vec<u8> {
    let mut start = Message::default();
    for (name, value) in &about.parameters {
        let mut held = Message::default();
        match (value.parse::<f64>(), value.parse::<bool>()) {
            (Ok(number), _) if number.is_finite() => held.double(2, number),
            (_, Ok(truth)) => held.number(4, u64::from(truth)),
            _ => held.bytes(3, value.as_bytes()),
        }
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.bytes(2, &held.0);
        start.bytes(1, &entry.0);
    }
    start.bytes(4, about.name.as_bytes());
    start.double(5, seconds(about.started));
    hyperparameters(at, "_hparams_/session_start_info", 3, &start)
}

/// How it ended, as `SessionEndInfo`.
pub fn session_end(at: SystemTime, succeeded: bool) -> Vec<u8> {
    let mut end = Message::default();
    end.number(1, if succeeded { 1 } else { 2 });
    end.double(2, seconds(at));
    hyperparameters(at, "_hparams_/session_end_info", 4, &end)
}

/// Names and values as a table in Markdown.
pub fn table(pairs: &[(String, String)]) -> String {
    let cell = |text: &str| host_files::text::line(text).replace('|', "\\|");
    let row = |(name, value): &(String, String)| format!("| {} | {} |\n", cell(name), cell(value));
    let rows: String = pairs.iter().map(row).collect();
    format!("| key | value |\n|---|---|\n{rows}")
}

fn hyperparameters(at: SystemTime, tag: &str, field: u32, content: &Message) -> Vec<u8> {
    let mut data = Message::default();
    data.bytes(field, &content.0);
    let mut one = Message::default();
    one.bytes(TAG, tag.as_bytes());
    one.bytes(METADATA, &metadata("hparams", &data.0));
    let mut summary = Message::default();
    summary.bytes(VALUE, &one.0);
    summarized(at, 0, &summary)
}

/// `SummaryMetadata` of a plugin.
fn metadata(plugin: &str, content: &[u8]) -> Vec<u8> {
    let mut data = Message::default();
    data.bytes(1, plugin.as_bytes());
    if !content.is_empty() {
        data.bytes(2, content);
    }
    let mut metadata = Message::default();
    metadata.bytes(1, &data.0);
    metadata.0
}

fn summarized(at: SystemTime, step: u64, summary: &Message) -> Vec<u8> {
    let mut event = event(at, step);
    event.bytes(SUMMARY, &summary.0);
    event.0
}

fn event(at: SystemTime, step: u64) -> Message {
    let mut event = Message::default();
    event.double(WALL_TIME, seconds(at));
    event.number(STEP, step);
    event
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A message while it is written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field << 3));
        self.varint(value);
    }

    fn double(&mut self, field: u32, value: f64) {
        self.varint(u64::from(field << 3 | 1));
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u32, value: f32) {
        self.varint(u64::from(field << 3 | 5));
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field << 3 | 2));
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
