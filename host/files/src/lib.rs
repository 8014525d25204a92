//! Files as the rest of the program wants them, each implementation once: written whole
//! or not at all, kept from others, line by line, by their digest.
#![warn(missing_docs)]

pub mod atomic;
mod error;
mod lines;
pub mod private;
pub mod sha256;

pub use error::{Error, Result};
pub use lines::Lines;
