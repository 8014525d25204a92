//! From data files to packed batches.
//!
//! [`format`] reads records from JSON Lines, a JSON array, CSV or Parquet, as a stream and
//! unpacked if they are packed; [`shape`]
//! recognises what a record means by its keys; [`rows`] checks it and makes a
//! [`Row`] (a conversation that ends with an answer) or a [`Prompt`] of it;
//! [`source`] mixes several files; [`encode`] turns rows into token [`Sample`]s, which [`Samples`] keeps in memory or in a file;
//! [`plan`] orders samples into optimizer steps, [`streams`] does where a policy mixes
//! task and alignment data; [`pack`] lays a micro-batch out for the decoder.

pub mod anchors;
pub mod check;
mod choices;
pub mod config;
mod content;
mod conversation;
mod delimited;
pub mod demo;
pub mod encode;
pub mod error;
mod extension;
pub mod failure;
mod fields;
pub mod format;
mod held_out;
pub mod hub;
mod input;
mod json;
pub mod models;
pub mod near;
pub mod notices;
mod origin;
mod overlong;
pub mod pack;
mod packed;
pub mod parquet_file;
mod pieces;
pub mod plan;
pub mod progress;
pub mod random;
mod reader;
mod refused;
mod rendered;
mod request;
pub mod rows;
mod sample;
mod samples;
pub mod shape;
mod shown;
pub mod source;
mod spill;
pub mod split;
pub mod streams;
mod switches;
mod tools;
mod training;
mod turn;
mod unique;
mod visit;
mod window;

pub use config::DataConfig;
pub use content::{content_digest, content_id};
pub use delimited::Separator;
pub use encode::{Encoded, encode_chats, encode_rows, show_example};
pub use error::{Error, Place, Result};
pub use failure::Failure;
pub use held_out::HeldOut;
pub use hub::Digests;
pub use models::{HeldWeights, ModelConfig, WeightType, load_model};
pub use notices::{BadRows, Content, FileNotices, Notices, OnBadRow, Read};
pub use origin::{Origin, Split};
pub use overlong::Overlong;
pub use pack::{PackedSamples, Position, TapRanges, answer_offsets, pack, tap_ranges};
pub use packed::Packing;
pub use plan::{Cursor, Plan};
pub use progress::{Progress, Silent};
pub use reader::Reader;
pub use request::Request;
pub use rows::{Message, Prompt, Row, parse_prompts, parse_rows, read_rows_with};
pub use sample::Sample;
pub use samples::{Samples, Stored, borrowed};
pub use source::{DataSource, Mixable, OneOrMany, mix, one_or_many, read_prompts, read_rows};
pub use split::{assign_splits, need_both_labels};
pub use streams::{Extra, ExtraStream, Mix, Streams};
pub use training::{Texts, read_samples};

use std::path::Path;

/// The content of a file that is embedded in the program, if `path` names one: `demo:NAME` or
/// `anchors:NAME`.
pub fn embedded(path: &Path) -> Option<&'static [u8]> {
    demo::file(path).or_else(|| anchors::file(path))
}
