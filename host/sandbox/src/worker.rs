//! Work on bytes that nobody vouches for, in a process of its own.
//!
//! Compiling a small but malicious component can take minutes and gigabytes, and
//! decoding one can end the process that does it. So the host runs itself again as
//! a worker with hard limits on processor time and memory, hands it the bytes on
//! standard input, and reads the result from standard output. A worker that hangs is
//! killed, one that dies takes nothing with it, and one that is taken over has neither
//! files nor a network: see [`Jail`].

mod jail;

pub use jail::Jail;
pub(crate) use jail::{Task, close, enter};

use std::{
    ffi::OsString,
    io::{self, Read, Write as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Once, OnceLock},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wait_timeout::ChildExt as _;

use crate::{
    call_site::{CallSite, Function},
    error::{Error, FileProblem, REBUILD, Result},
    limits::{Limit, Limits},
    system,
};
use host_files::text::clean;

/// What a worker does with the bytes it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// A component to native code, for this engine alone.
    Compile,
    /// A component to the text of its interfaces (WIT).
    Decode,
    /// A core module with embedded interfaces to a component.
    Encode,
}

/// How a worker is started: a program that calls [`serve`](crate::serve()) when it gets these
/// arguments. `host` is one itself.
#[derive(Debug, Clone)]
pub struct Worker {
    program: PathBuf,
    arguments: Vec<OsString>,
    jail: Arc<OnceLock<Jail>>,
}

/// First line that a worker reads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub work: Work,
    pub limits: Limits,
}

/// What a worker is for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// One job.
    Translate(Job),
    /// To answer for a policy as long as the host asks; it exports its functions under a name.
    Run {
        /// That name.
        export: String,
        /// Maximum of the tables by which it reports what is reached.
        mark: Option<u32>,
    },
}

/// How a worker that didn't finish came to its end.
enum End {
    Wall,
    Cpu,
    Memory,
    /// Its own words.
    Refused(String),
    Died(String),
}

/// Results beyond this multiple of the component limit are cut off: native code is
/// larger than WebAssembly, but not by this much.
const GROWTH: u64 = 16;
/// Where the program's own libraries are found (those of CUDA, say).
const LIBRARIES: &str = "LD_LIBRARY_PATH";
/// Of address space, which is what the limit counts, the program's allocator would
/// reserve a GiB at once; this makes it 16 MiB.
const ARENA: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "16384");
/// Of what a worker says on standard error.
const MESSAGE_BYTES: u64 = 16 << 10;
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

impl Worker {
    /// A worker that runs `program` with these arguments.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
            jail: Arc::default(),
        }
    }

    /// What held the first process that was started; absent before, as when every policy came
    /// from the cache.
    pub fn jail(&self) -> Option<&Jail> {
        self.jail.get()
    }

    /// Does a job on a component (or module) named `file`.
    ///
    /// # Errors
    /// A limit on compilation that fired, bytes that the job refuses, and a worker
    /// that can't be started.
    pub fn run(&self, job: Job, bytes: &[u8], limits: &Limits, file: &str) -> Result<Vec<u8>> {
        let started = self.start(job, bytes, limits);
        match started.map_err(|source| self.broken(&source))? {
            Ok(result) => Ok(result),
            Err(end) => Err(match (&end, system::scarcity(limits)) {
                (End::Wall, _) | (_, None) => explain(end, job, limits, file),
                (_, Some(scarcity)) => {
                    let ended = explain(end, job, limits, file);
                    Error::Engine { problem: format!("{scarcity}; without that: {ended}") }
                }
            }),
        }
    }

    /// The process, with pipes to it and nothing of the host's own surroundings.
    pub(crate) fn command(&self) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            // Of the environment it gets what the program needs to start, no more.
            .env_clear()
            .envs(std::env::var_os(LIBRARIES).map(|folders| (LIBRARIES, folders)))
            .env(ARENA.0, ARENA.1)
            // Ctrl-C is for the host, which ends the step first.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }

    fn start(
        &self,
        job: Job,
        bytes: &[u8],
        limits: &Limits,
    ) -> io::Result<std::result::Result<Vec<u8>, End>> {
        let order = Order { work: Work::Translate(job), limits: limits.clone() };
        let mut order = serde_json::to_vec(&order)?;
        order.push(b'\n');
        let mut child = self.command().stderr(Stdio::piped()).spawn()?;
        let (input, output, errors) = pipes(&mut child)?;
        let most = GROWTH * limits.component_bytes + (1 << 20);
        let deadline = Duration::from_millis(limits.compile_milliseconds);
        let (status, result, message) = thread::scope(|scope| {
            // A worker that dies early closes the pipe; its end tells why.
            scope.spawn(move || {
                let mut input = input;
                let _ = input.write_all(&order).and_then(|()| input.write_all(bytes));
            });
            let result = scope.spawn(move || take(output, most));
            let message = scope.spawn(move || take(errors, MESSAGE_BYTES));
            let status = match child.wait_timeout(deadline) {
                Ok(Some(status)) => Ok(Some(status)),
                Ok(None) => child.kill().and_then(|()| child.wait()).map(|_| None),
                Err(error) => Err(error),
            };
            (status, result.join(), message.join())
        });
        let joined = |bytes: thread::Result<Vec<u8>>| {
            bytes.map_err(|_| io::Error::other("a thread that reads from the worker failed"))
        };
        let (result, message) = (joined(result)?, joined(message)?);
        Ok(match status? {
            None => Err(End::Wall),
            Some(status) if status.success() => {
                let jailed = result.iter().position(|byte| *byte == b'\n');
                let (jail, result) = result.split_at(jailed.map_or(0, |at| at + 1));
                self.note(jail)?;
                Ok(result.to_vec())
            }
            Some(status) => Err(end(status, &String::from_utf8_lossy(&message))),
        })
    }

    /// Keeps the worker's word on what holds it, and says once per process what doesn't.
    pub(crate) fn note(&self, line: &[u8]) -> io::Result<()> {
        static TOLD: Once = Once::new();
        let jail: Jail = serde_json::from_slice(line)?;
        if !jail.missing.is_empty() {
            TOLD.call_once(|| {
                tracing::warn!(
                    "the process that compiles policies is held by {jail}; use a kernel that \
                     has both, or compile none but policies of people you trust"
                );
            });
        }
        self.jail.get_or_init(|| jail);
        Ok(())
    }

    fn broken(&self, source: &io::Error) -> Error {
        Error::Engine {
            problem: format!(
                "the process that compiles policies ({}) can't be used: {source}",
                self.program.display()
            ),
        }
    }
}

type Pipes = (std::process::ChildStdin, std::process::ChildStdout, std::process::ChildStderr);

fn pipes(child: &mut Child) -> io::Result<Pipes> {
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(input), Some(output), Some(errors)) => Ok((input, output, errors)),
        _ => Err(io::Error::other("no pipes")),
    }
}

/// At most `most` bytes; the rest is read and dropped, so that the writer can end.
fn take(mut from: impl Read, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = from.by_ref().take(most).read_to_end(&mut bytes);
    if read.is_ok() {
        let _ = io::copy(&mut from, &mut io::sink());
    }
    bytes
}

fn end(status: ExitStatus, message: &str) -> End {
    use std::os::unix::process::ExitStatusExt as _;
    // Rust says so and aborts; wasmtime returns it as an error.
    let starved = [
        "memory allocation of",
        "Cannot allocate memory",
        "out of memory",
        // No room for the stack of a thread.
        "Resource temporarily unavailable",
    ];
    let starved = starved.iter().any(|words| message.contains(words));
    let last = message.lines().rfind(|line| !line.trim().is_empty());
    let last = clean(last.unwrap_or_default(), 300);
    match (status.signal(), status.code()) {
        _ if starved => End::Memory,
        // SIGKILL is what comes a second after SIGXCPU.
        (Some(SIGXCPU | SIGKILL), _) => End::Cpu,
        (None, Some(1)) => End::Refused(last),
        (Some(SIGABRT), _) => End::Died(last),
        (Some(signal), _) => End::Died(format!("signal {signal}")),
        (None, code) => End::Died(if last.is_empty() {
            format!("exit code {}", code.unwrap_or_default())
        } else {
            last
        }),
    }
}

fn explain(end: End, job: Job, limits: &Limits, file: &str) -> Error {
    let at = CallSite { policy: None, file: file.to_owned(), function: Function::Load, step: None };
    let limit = |limit: Limit| Error::Limit {
        allowed: limits.allowed(limit, Function::Load),
        at: Box::new(at.clone()),
        limit,
    };
    let verb = match job {
        Job::Compile => "compiled",
        Job::Decode => "decoded",
        Job::Encode => "made into a component",
    };
    match end {
        End::Wall => limit(Limit::CompileTime),
        End::Cpu => limit(Limit::CompileCpu),
        End::Memory => limit(Limit::CompileMemory),
        End::Refused(words) => Error::File {
            file: file.to_owned(),
            problem: FileProblem::new(format!("it can't be {verb}: {words}"), REBUILD),
        },
        End::Died(how) => Error::File {
            file: file.to_owned(),
            problem: FileProblem::new(
                format!("it can't be {verb}: the process that tried ended ({how})"),
                "don't trust this file; rebuild it from its sources",
            ),
        },
    }
}
