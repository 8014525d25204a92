//! What a person names as the folder of a run, told apart from what is none.

use std::path::Path;

use crate::error::{Error, Result};

/// The resolved configuration of a run, in its folder.
pub const CONFIG: &str = "config.toml";

/// Checks that a run was begun in a folder.
///
/// # Errors
/// Names what is wrong with the path, and what to name.
pub fn check_run(folder: &Path) -> Result<()> {
    if folder.join(CONFIG).is_file() {
        return Ok(());
    }
    let problem = if folder.symlink_metadata().is_err() {
        "is not there; name the folder of a run, such as runs/probe-1"
    } else if !folder.is_dir() {
        "is no folder; name the folder of a run, such as runs/probe-1"
    } else {
        "is no folder of a run: there is no config.toml in it; name one, such as runs/probe-1"
    };
    Err(Error::file(folder, problem))
}
