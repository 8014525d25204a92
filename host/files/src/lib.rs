//! File operations used by all crates: atomic writes, owner-only folders, JSON Lines and
//! SHA-256 digests.
#![warn(missing_docs)]

pub mod atomic;
mod error;
pub mod json;
mod lines;
pub mod private;
pub mod sha256;

pub use error::{Error, Result};
pub use lines::Lines;
