//! Folders of what a run must be able to trust.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

/// Makes a folder with access for its owner alone, if it isn't there.
///
/// # Errors
/// If it can't be made or read, or if others may write to it.
pub fn folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match fs::metadata(path)?.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(io::Error::other("others may write to it; chmod go-w it")),
    }
}
