//! Work without the interpreter: other threads of Python run meanwhile, Ctrl-C ends what takes long,
//! and a mistake of the host's own is an exception like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

use crate::errors::{PolicyError, raised};

/// How often to look whether a person wants it to stop.
const GLANCE: Duration = Duration::from_millis(20);

/// Runs it detached from the interpreter.
pub fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> host_sandbox::Result<T> + Send,
) -> PyResult<T> {
    quietly(py.detach(|| catch_unwind(AssertUnwindSafe(work))))
}

/// The same for what takes long: Ctrl-C ends the calls of `engine` that are in progress.
pub fn interruptible<T: Send>(
    py: Python<'_>,
    engine: &host_sandbox::Engine,
    work: impl FnOnce() -> host_sandbox::Result<T> + Send,
) -> PyResult<T> {
    thread::scope(|scope| {
        let call = scope.spawn(|| catch_unwind(AssertUnwindSafe(work)));
        let mut stopped = Ok(());
        while !call.is_finished() {
            if stopped.is_ok() {
                stopped = py.check_signals();
            }
            if stopped.is_err() {
                engine.interrupt();
            }
            py.detach(|| thread::sleep(GLANCE));
        }
        let done = call.join().unwrap_or_else(Err);
        stopped?;
        quietly(done)
    })
}

fn quietly<T>(done: thread::Result<host_sandbox::Result<T>>) -> PyResult<T> {
    match done {
        Ok(result) => result.map_err(raised),
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(PolicyError::new_err(format!(
                "a mistake of this package itself, please report it: {}",
                words.unwrap_or_else(|| "it panicked".into())
            )))
        }
    }
}
