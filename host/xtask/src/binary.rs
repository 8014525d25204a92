//! The program under measurement: the one that was built beside this one.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// # Errors
/// If it was not built yet.
pub fn host() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this program is not known")?;
    let host = own.with_file_name(format!("host{}", std::env::consts::EXE_SUFFIX));
    ensure!(
        host.is_file(),
        "{} is missing; build it: cargo build --release --workspace",
        host.display()
    );
    Ok(host)
}
