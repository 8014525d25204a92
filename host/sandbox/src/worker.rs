//! Work on bytes that nobody vouches for, in a process of its own: see [`host_files::apart`].
//!
//! Compiling a small but malicious component can take minutes and gigabytes, and decoding one can
//! end the process that does it.

use std::path::PathBuf;

use host_files::apart::{self, Budget, End, Jail, Program, Task};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    call_site::{CallSite, Function},
    error::{Error, FileProblem, REBUILD, Result},
    limits::{Limit, Limits},
    system, wire,
};

/// What a worker does with the bytes it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// A component to native code, for this engine alone.
    Compile,
    /// A component to the text of its interfaces (WIT).
    Decode,
    /// A core module with embedded interfaces to a component.
    Encode,
}

impl Job {
    pub(crate) const ALL: [Self; 3] = [Self::Compile, Self::Decode, Self::Encode];

    /// As a worker is started with it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Decode => "decode",
            Self::Encode => "encode",
        }
    }
}

/// How a worker is started: a program that calls [`serve`](crate::serve()) when it gets these
/// arguments. `host` is one itself.
#[derive(Debug, Clone)]
pub struct Worker(Program);

/// What a worker is asked to work on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub limits: Limits,
    pub bytes: ByteBuf,
}

/// Results beyond this multiple of the component limit are cut off: native code is
/// larger than WebAssembly, but not by this much.
const GROWTH: u64 = 16;

impl Worker {
    /// A worker that runs `program` with these arguments.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self(Program::new(program, arguments))
    }

    /// What held the first process that was started; absent before, as when every policy came
    /// from the cache.
    pub fn jail(&self) -> Option<&Jail> {
        self.0.jail()
    }

    /// Does a job on a component (or module) named `file`.
    ///
    /// # Errors
    /// A limit on compilation that fired, bytes that the job refuses, and a worker
    /// that can't be started.
    pub fn run(&self, job: Job, bytes: &[u8], limits: &Limits, file: &str) -> Result<Vec<u8>> {
        let budget = Budget {
            task: Task::Read,
            memory: limits.compile_memory_bytes,
            processor_seconds: Some(limits.compile_cpu_seconds),
            time: std::time::Duration::from_millis(limits.compile_milliseconds),
            answer: GROWTH * limits.component_bytes + (1 << 20),
        };
        let order = Order { limits: limits.clone(), bytes: ByteBuf::from(bytes) };
        let order = wire::to_bytes(&order).map_err(|e| self.broken(&e.to_string()))?;
        let answered = self.start(job.name(), budget).and_then(|mut worker| worker.ask(&order));
        match (answered, system::scarcity(limits)) {
            (Ok(answer), _) => {
                match wire::from_bytes::<std::result::Result<ByteBuf, String>>(&answer) {
                    Ok(Ok(result)) => Ok(result.into_vec()),
                    Ok(Err(words)) => Err(refused(&words, job, file)),
                    Err(error) => Err(self.broken(&error.to_string())),
                }
            }
            (Err(End::Broken(why)), _) => Err(self.broken(&why)),
            (Err(end @ End::Time(_)), _) | (Err(end), None) => Err(explain(end, job, limits, file)),
            (Err(end), Some(scarcity)) => {
                let ended = explain(end, job, limits, file);
                let problem = format!("{scarcity}; without that: {ended}");
                Err(Error::Engine { problem })
            }
        }
    }

    pub(crate) fn start(
        &self,
        job: &str,
        budget: Budget,
    ) -> std::result::Result<apart::Worker, End> {
        self.0.start(job, budget)
    }

    fn broken(&self, why: &str) -> Error {
        let program = self.0.path().display();
        let problem =
            format!("the process that compiles policies ({program}) can't be used: {why}");
        Error::Engine { problem }
    }
}

fn verb(job: Job) -> &'static str {
    match job {
        Job::Compile => "compiled",
        Job::Decode => "decoded",
        Job::Encode => "made into a component",
    }
}

fn refused(words: &str, job: Job, file: &str) -> Error {
    let words = host_files::text::clean(words, 300);
    let problem = FileProblem::new(format!("it can't be {}: {words}", verb(job)), REBUILD);
    Error::File { file: file.to_owned(), problem }
}

fn explain(end: End, job: Job, limits: &Limits, file: &str) -> Error {
    let at = CallSite { policy: None, file: file.to_owned(), function: Function::Load, step: None };
    let limit = |limit: Limit| Error::Limit {
        allowed: limits.allowed(limit, Function::Load),
        at: Box::new(at.clone()),
        limit,
    };
    match end {
        End::Time(_) => limit(Limit::CompileTime),
        End::Processor(_) => limit(Limit::CompileCpu),
        End::Memory(_) => limit(Limit::CompileMemory),
        other => Error::File {
            file: file.to_owned(),
            problem: FileProblem::new(
                format!("it can't be {}: it {other}", verb(job)),
                "don't trust this file; rebuild it from its sources",
            ),
        },
    }
}
