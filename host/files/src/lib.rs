//! File operations used by all crates: atomic writes, owner-only folders and files, JSON Lines,
//! SHA-256 digests, how foreign text is shown, and words for a shell.
#![warn(missing_docs)]

pub mod apart;
pub mod atomic;
pub mod capped;
mod error;
pub mod json;
mod leftovers;
mod lines;
pub mod own;
mod page;
pub mod private;
pub mod quiet;
pub mod sha256;
pub mod shell;
pub mod text;
pub mod ulimit;

pub use error::{Error, Result, advice};
pub use lines::Lines;
pub use page::Page;
