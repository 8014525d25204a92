//! The worker's side: limits and jail first, questions after.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Budget, Task, frames, jail};
use crate::text;
use crate::ulimit::{Resource, restrict};

/// How much longer than its host a worker waits before it ends itself: it may be alone.
const GRACE: Duration = Duration::from_secs(5);

/// Answers the questions on standard input to standard output until there are no more, in a process that can do
/// nothing else. `arguments` are those behind the name of the job.
///
/// # Errors
/// When the limits can't be set, or the other side can't be spoken with.
pub fn serve(arguments: &[OsString], mut answer: impl FnMut(&[u8]) -> Vec<u8>) -> io::Result<()> {
    // Its last line is what the host tells.
    std::panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("it panicked");
        eprintln!("{}", text::clean(why, 300));
    }));
    let budget = arguments.first().and_then(|budget| budget.to_str());
    let budget: Budget = serde_json::from_str(budget.unwrap_or_default())?;
    limit(&budget)?;
    let jail = jail::enter(budget.task);
    end_when_late(budget.time + GRACE)?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    frames::write(&mut output, &serde_json::to_vec(&jail)?)?;
    let mut loads = budget.task == Task::Run;
    while let Some(question) = frames::read(&mut input, u64::MAX)? {
        SINCE.store(now(), Ordering::Relaxed);
        let bytes = answer(&question);
        drop(question);
        SINCE.store(IDLE, Ordering::Relaxed);
        if std::mem::take(&mut loads) {
            jail::close(&jail).map_err(io::Error::other)?;
        }
        frames::write(&mut output, &bytes)?;
    }
    Ok(())
}

/// How a worker ends that served or couldn't; its last words are what the host tells.
pub fn exit(served: io::Result<()>) -> ExitCode {
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", text::clean(&error.to_string(), 300));
            ExitCode::FAILURE
        }
    }
}

/// From here on this process can use only so much, and write no file.
fn limit(budget: &Budget) -> io::Result<()> {
    if let Some(seconds) = budget.processor_seconds {
        restrict(Resource::CPU, seconds, seconds + 1)?;
    }
    match budget.task {
        Task::Read => {
            restrict(Resource::AS, budget.memory, budget.memory)?;
            restrict(Resource::FSIZE, 0, 0)?;
        }
        // The engine reserves address space by the gigabyte and uses what a policy asks for, so what counts here
        // is memory that can be written.
        Task::Run => restrict(Resource::DATA, budget.memory, budget.memory)?,
    }
    restrict(Resource::CORE, 0, 0)
}

const IDLE: u64 = u64::MAX;
/// When the question in work was read.
static SINCE: AtomicU64 = AtomicU64::new(IDLE);

/// Milliseconds since the first call.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

/// Ends this process when one answer takes too long, whether or not anyone still waits for it.
fn end_when_late(limit: Duration) -> io::Result<()> {
    let limit = limit.as_millis() as u64;
    now();
    let watch = move || loop {
        std::thread::sleep(Duration::from_millis(500));
        let since = SINCE.load(Ordering::Relaxed);
        if since != IDLE && now().saturating_sub(since) > limit {
            std::process::abort();
        }
    };
    // Of address space there may be little.
    std::thread::Builder::new().stack_size(64 << 10).spawn(watch)?;
    Ok(())
}
