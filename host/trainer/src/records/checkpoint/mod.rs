//! Checkpoints: everything that a run needs to go on as if it had never ended.
//!
//! ```text
//! checkpoints/step-000040/
//!   tensors.safetensors   adapter, both moments, moving average, the way back,
//!                         the last switch of the alignment share, the best adapter so far
//!   state.json            step, counters, place in the data streams, policies' states,
//!                         how far the records reach
//!   manifest.json         size and SHA-256 of the two, written last
//! ```
//!
//! Whatever isn't in it is a function of the seed and the step: the order of the data,
//! the learning rate, every draw of randomness, the reference. There is no state inside
//! of a step, so a run that was killed between two micro-batches repeats that step.
//!
//! A folder is written under another name, each file is synced, then the folder is
//! renamed and its parent synced: it exists whole or not at all. Reading checks every
//! byte against the manifest. Old ones go only after the new one was read back.

mod saved;
mod store;

pub use saved::{FORMAT, Progress, Saved, Tensors, from_bytes, to_bytes};
pub use store::{Checkpoints, Stored};
