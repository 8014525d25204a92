//! How the readers of each format hand over what they read.

use serde_json::{Map, Value};

use super::error::{Place, Result};

/// A record, or what is wrong with it where the next one can be read all the same.
pub(super) type Record = Result<Map<String, Value>>;

/// Receives every record of a file with its place.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Place, Record) -> Result<()>;
