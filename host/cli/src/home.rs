//! Files kept between runs: outputs of the reference, scores of judges and policies of registries in the user's cache
//! folder (`~/.cache/host`), beside what every program of an installation keeps; and this program as a worker.

use std::process::ExitCode;

use etcetera::{BaseStrategy, choose_base_strategy};
use host_data::parquet_file;
use host_files::apart::{self, Program};
pub use host_installed::{cache, key};
use host_model::chat;
use host_sandbox::{Error, Worker};
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

/// The cache folders of reference outputs and judge scores, if the system names one.
pub fn caches() -> Caches {
    let folders = choose_base_strategy().ok();
    let folder = |name: &str| Some(folders.as_ref()?.cache_dir().join("host").join(name));
    Caches { reference: folder("reference"), judges: folder("judgements") }
}
