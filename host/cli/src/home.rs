//! Files kept between runs: compiled policies, outputs of the reference and scores of judges
//! in the user's cache folder (`~/.cache/host`), keys in `~/.config/host`.

use std::path::PathBuf;
use std::process::ExitCode;

use etcetera::{BaseStrategy, choose_base_strategy};
use host_data::parquet_file;
use host_files::apart;
use host_model::chat;
use host_sandbox::{Cache, Error, Worker};
use host_trainer::prepare::Caches;

use crate::out;

/// The argument that starts the program as its own worker.
pub const WORKER: &str = "policy-worker";

/// The argument that starts the program as a reader of what may end the process that reads it.
pub const READER: &str = "file-reader";

/// Has such files read by this program in processes of their own; where its path isn't known, here.
pub fn register_reader() {
    match std::env::current_exe() {
        Ok(program) => apart::register(program, &[READER]),
        Err(error) => tracing::warn!(
            "the path of this program is not known ({error}); files are read without a limit on memory"
        ),
    }
}

/// The side of the reader: answers until nobody asks.
pub fn read() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(2).collect();
    let served = match arguments.split_first() {
        Some((job, rest)) if job == chat::JOB => chat::serve(rest),
        Some((job, rest)) if job == parquet_file::JOB => parquet_file::serve(rest),
        _ => Err(std::io::Error::other("no such job")),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::say(error.to_string());
            ExitCode::FAILURE
        }
    }
}

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
