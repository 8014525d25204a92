//! Files kept between runs: compiled policies, those of registries, outputs of the reference and scores of judges
//! in the user's cache folder (`~/.cache/host`), keys in `~/.config/host`.

use std::path::PathBuf;
use std::process::ExitCode;

use etcetera::{BaseStrategy, choose_base_strategy};
use host_data::parquet_file;
use host_files::apart::{self, Program};
use host_model::chat;
use host_sandbox::{Cache, Error, Worker};
use host_trainer::prepare::Caches;

/// The argument that starts the program as its own worker, for work on what nobody vouches for.
pub const WORKER: &str = "worker";

/// Has such files read by this program in processes of their own; where its path isn't known, here.
pub fn register_reader() {
    match std::env::current_exe() {
        Ok(program) => apart::register(Program::new(program, &[WORKER])),
        Err(error) => tracing::warn!(
            "the path of this program is not known ({error}); files are read without a limit on memory"
        ),
    }
}

/// The side of the worker: answers until nobody asks.
pub fn work() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(2).collect();
    apart::exit(match arguments.split_first() {
        Some((job, rest)) if job == chat::JOB => chat::serve(rest),
        Some((job, rest)) if job == parquet_file::JOB => parquet_file::serve(rest),
        _ => host_sandbox::serve(&arguments),
    })
}

/// The worker that compiles policies.
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

/// What was pulled from registries, if the system names a folder for it.
pub fn registry() -> Option<PathBuf> {
    Some(choose_base_strategy().ok()?.cache_dir().join("host/registry"))
}

/// The default signing key, used where no --key is given.
pub fn key() -> Result<PathBuf, Error> {
    let folders = choose_base_strategy().map_err(|error| Error::Key {
        key: "of your own".into(),
        problem: format!("there is no folder to keep one in ({error}); give --key FILE"),
    })?;
    Ok(folders.config_dir().join("host/host.key"))
}
