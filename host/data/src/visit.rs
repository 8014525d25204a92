//! How the readers of each format hand over what they read.

use serde_json::{Map, Value};

use super::error::{Place, Result};

/// Receives every record of a file with its place.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Place, Map<String, Value>) -> Result<()>;
