//! Files kept between runs: compiled policies, outputs of the reference and scores of judges
//! in the user's cache folder (`~/.cache/host`), keys in `~/.config/host`.

use std::path::PathBuf;

use etcetera::{BaseStrategy, choose_base_strategy};
use host_sandbox::{Cache, Error, Worker};
use host_trainer::prepare::Caches;

/// The argument that starts the program as its own worker.
pub const WORKER: &str = "policy-worker";

/// The worker process, which compiles policies.
pub fn worker() -> Result<Worker, Error> {
    let program = std::env::current_exe().map_err(|error| Error::Engine {
        problem: format!("the path of this program is not known ({error})"),
    })?;
    Ok(Worker::new(program, &[WORKER]))
}

/// The cache of compiled policies; without a folder for it they are compiled at every start.
pub fn cache() -> Option<Cache> {
    let folders = choose_base_strategy().ok()?;
    let (cache, key) =
        (folders.cache_dir().join("host/policies"), folders.config_dir().join("host/cache.key"));
    Cache::open(&cache, &key)
        .inspect_err(|error| tracing::warn!("{error}; policies are compiled at every start"))
        .ok()
}

/// The cache folders of reference outputs and judge scores, if the system names one.
pub fn caches() -> Caches {
    let folders = choose_base_strategy().ok();
    let folder = |name: &str| Some(folders.as_ref()?.cache_dir().join("host").join(name));
    Caches { reference: folder("reference"), judges: folder("judgements") }
}

/// The default signing key, used where no --key is given.
pub fn key() -> Result<PathBuf, Error> {
    let folders = choose_base_strategy().map_err(|error| Error::Key {
        key: "of your own".into(),
        problem: format!("there is no folder to keep one in ({error}); give --key FILE"),
    })?;
    Ok(folders.config_dir().join("host/host.key"))
}
