//! What an installation has, whichever program of it runs: the policies that come with it, the
//! cache of compiled ones and the user's own key.
//!
//! Compiled policies lie in `~/.cache/host`, keys in `~/.config/host`, or where the system has
//! such folders.

#![warn(missing_docs)]

use std::path::PathBuf;

use etcetera::{BaseStrategy, choose_base_strategy};
use host_sandbox::{Builtin, Cache, Error};

/// The policies that come with the programs, those of plugins/SHA256SUMS, in the order of their
/// names.
pub static POLICIES: &[Builtin] = &include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// The cache of compiled policies; without a folder for it they are compiled at every start.
pub fn cache() -> Option<Cache> {
    let folders = choose_base_strategy().ok()?;
    let (cache, key) =
        (folders.cache_dir().join("host/policies"), folders.config_dir().join("host/cache.key"));
    Cache::open(&cache, &key)
        .inspect_err(|error| tracing::warn!("{error}; policies are compiled at every start"))
        .ok()
}

/// The folder of policies from registries, if the system has one for such things.
pub fn registry() -> Option<PathBuf> {
    Some(choose_base_strategy().ok()?.cache_dir().join("host/registry"))
}

/// The default signing key, used where none is named.
///
/// # Errors
/// A system without a folder for it.
pub fn key() -> Result<PathBuf, Error> {
    let folders = choose_base_strategy().map_err(|error| Error::Key {
        key: "of your own".into(),
        problem: format!("there is no folder to keep one in ({error}); name the file of one"),
    })?;
    Ok(folders.config_dir().join("host/host.key"))
}
