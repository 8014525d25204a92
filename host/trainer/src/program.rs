//! The running program.

use std::sync::OnceLock;

use host_files::sha256;

use crate::error::{Error, Result};

/// Its name among the parts of a run's identity, the one that may be another where the run goes on.
pub const PART: &str = "program";

/// SHA-256 of its file: another build may add up in another order.
///
/// # Errors
/// If the file can't be found or read.
pub fn digest() -> Result<&'static str> {
    static DIGEST: OnceLock<String> = OnceLock::new();
    if let Some(digest) = DIGEST.get() {
        return Ok(digest);
    }
    let failed = |error| Error::read("this program".as_ref(), error);
    let digest = sha256::file(&std::env::current_exe().map_err(failed)?).map_err(failed)?;
    Ok(DIGEST.get_or_init(|| digest))
}
