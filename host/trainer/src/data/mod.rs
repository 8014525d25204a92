//! From data files to packed batches.
//!
//! [`format`] reads records from JSON Lines, a JSON array or Parquet; [`shape`]
//! recognises what a record means by its keys; [`rows`] checks it and makes a
//! [`Row`] (a conversation that ends with an answer) or a [`Prompt`] of it;
//! [`source`] mixes several files; [`encode`] turns rows into token [`Sample`]s;
//! [`batch`] orders samples into optimizer steps; [`pack`] lays a micro-batch out
//! for the decoder.

pub mod batch;
mod conversation;
pub mod encode;
pub mod error;
pub mod format;
mod json;
pub mod pack;
mod parquet_file;
pub mod random;
pub mod rows;
pub mod shape;
pub mod source;
pub mod split;

pub use batch::{Batches, Cursor, Length};
pub use encode::{Encoded, Sample, TooLong, encode_rows, show_example};
pub use error::{Error, Place, Result};
pub use pack::{PackedSamples, Position, TapRanges, answer_offsets, pack};
pub use rows::{Message, Prompt, Row, parse_prompts, parse_rows, read_prompts, read_rows, read_rows_with};
pub use source::{DataSource, Origin, load_rows, mix};
pub use split::{Split, assign_splits};
