//! What the program keeps between runs, in the folders that the system has for that:
//! compiled policies, what the reference says of samples, scores of judges
//! (`~/.cache/host`), and keys (`~/.config/host`).

use std::path::PathBuf;

use etcetera::{BaseStrategy, choose_base_strategy};
use host_policy::{Cache, Error, Worker};
use host_trainer::prepare::Caches;

/// The argument with which the program is its own worker.
pub const WORKER: &str = "policy-worker";

/// This program, as the process that compiles policies.
pub fn worker() -> Result<Worker, Error> {
    let program = std::env::current_exe().map_err(|error| Error::Engine {
        problem: format!("the path of this program is not known ({error})"),
    })?;
    Ok(Worker::new(program, &[WORKER]))
}

/// Compiled policies. Without a folder for them they are compiled every time.
pub fn cache() -> Option<Cache> {
    let folders = choose_base_strategy().ok()?;
    let (cache, key) =
        (folders.cache_dir().join("host/policies"), folders.config_dir().join("host/cache.key"));
    Cache::open(&cache, &key)
        .inspect_err(|error| tracing::warn!("{error}; policies are compiled at every start"))
        .ok()
}

/// Where the reference's answers and judgements are kept for other runs, if there is a
/// place.
pub fn caches() -> Caches {
    let folders = choose_base_strategy().ok();
    let folder = |name: &str| Some(folders.as_ref()?.cache_dir().join("host").join(name));
    Caches { reference: folder("reference"), judges: folder("judgements") }
}

/// The key that signs what the user doesn't name a key for.
pub fn key() -> Result<PathBuf, Error> {
    let folders = choose_base_strategy().map_err(|error| Error::Key {
        key: "of your own".into(),
        problem: format!("there is no folder to keep one in ({error}); give --key FILE"),
    })?;
    Ok(folders.config_dir().join("host/host.key"))
}
