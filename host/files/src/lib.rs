//! Files as the rest of the program wants them, each implementation once.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod atomic;
mod error;

pub use error::{Error, Result};
