//! JSON files as every file of a run is written: indented, with a line break at the end,
//! and safe to show on a terminal.

use std::path::Path;

use serde::Serialize;

use crate::atomic;
use crate::error::{Error, Result};
use crate::text;

/// The bytes of such a file.
///
/// # Errors
/// For a value that JSON can't hold.
pub fn bytes(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let written = serde_json::to_string_pretty(value)?;
    Ok((text::json(&written).into_owned() + "\n").into_bytes())
}

/// Writes the whole file or nothing.
///
/// # Errors
/// [`Error::Json`] and [`Error::Io`]
pub fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = bytes(value).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    atomic::write(path, &bytes)
}
