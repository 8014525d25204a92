//! Work on what nobody vouches for, in a process of its own that can be given up.
//!
//! Some formats can't be read within bounds: a template may nest a value until the stack ends, a column may unfold
//! to more than there is memory, a small component may take minutes to compile. So the program runs itself again as a
//! worker with limits on memory and processor time, asks it over a pair of sockets, and waits only so long. What ends
//! the worker is an error here, and one that is taken over has neither files nor a network: see [`Jail`].

mod frames;
mod jail;
mod serve;

pub use jail::{Jail, Task};
pub use serve::{exit, serve};

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::text;
use frames::Until;

/// Where the program's own libraries are found (those of CUDA, say).
const LIBRARIES: &str = "LD_LIBRARY_PATH";
/// Of address space, which is what the limit counts, the program's allocator would reserve a GiB at once.
const ARENA: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "16384");
/// Of what a worker says on standard error.
const LAST_WORDS: u64 = 4096;
/// Of what it says about its jail.
const ABOUT_JAIL: u64 = 1 << 16;
/// A worker that has closed its side ends in a moment.
const MOMENT: Duration = Duration::from_secs(2);
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// How a worker is started: a program that calls [`serve`] when it gets these arguments, the name of a job and its
/// budget.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    jail: Arc<OnceLock<Jail>>,
}

static PROGRAM: OnceLock<Program> = OnceLock::new();

/// Names the program that work is given to; without one it is done in this process.
pub fn register(program: Program) {
    // The first one stays.
    let _ = PROGRAM.set(program);
}

/// What a worker may take.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Budget {
    /// What it has to be able to do.
    pub task: Task,
    /// Its memory in bytes.
    pub memory: u64,
    /// Its processor time, over all answers.
    pub processor_seconds: Option<u64>,
    /// Time for one answer.
    pub time: Duration,
    /// Bytes of an answer.
    pub answer: u64,
}

impl Budget {
    /// For reading a file.
    pub const fn reading(memory: u64, time: Duration, answer: u64) -> Self {
        Self { task: Task::Read, memory, processor_seconds: None, time, answer }
    }
}

/// Why there is no answer. Said of the file that the work was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The time is over.
    Time(Duration),
    /// The processor time is used up.
    Processor(u64),
    /// The memory is used up.
    Memory(u64),
    /// The stack is used up.
    Stack,
    /// The answer is too long.
    Length(u64),
    /// The process ended otherwise.
    Died(String),
    /// The process can't be started or spoken with.
    Broken(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(limit) => write!(f, "takes more than {} s", limit.as_secs_f64()),
            Self::Processor(limit) => write!(f, "takes more than {limit} s of processor time"),
            Self::Memory(limit) => write!(f, "takes more than {} MiB of memory", limit >> 20),
            Self::Stack => f.write_str("is nested too deeply"),
            Self::Length(limit) => write!(f, "makes more than {} MiB", limit >> 20),
            Self::Died(how) => write!(f, "ends the process that reads it ({how})"),
            Self::Broken(why) => write!(f, "can't be read in a process of its own ({why})"),
        }
    }
}

impl Program {
    /// A program, and what it gets before the name of the job.
    pub fn new(path: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(OsString::from).collect();
        Self { path: path.into(), arguments, jail: Arc::default() }
    }

    /// The file of it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What held the first worker that was started; absent before.
    pub fn jail(&self) -> Option<&Jail> {
        self.jail.get()
    }

    /// A worker for a job.
    ///
    /// # Errors
    /// [`End`]
    pub fn start(&self, job: &str, budget: Budget) -> Result<Worker, End> {
        let mut worker = self.spawn(job, budget).map_err(|error| End::Broken(error.to_string()))?;
        let mut hello = Until::new(&worker.stream, budget.time);
        let said = frames::read(&mut hello, ABOUT_JAIL).and_then(|said| {
            Ok(serde_json::from_slice(&said.ok_or(io::ErrorKind::UnexpectedEof)?)?)
        });
        self.note(said.map_err(|error| worker.end(&error, budget.time, ABOUT_JAIL))?);
        Ok(worker)
    }

    fn spawn(&self, job: &str, budget: Budget) -> io::Result<Worker> {
        let (stream, theirs) = UnixStream::pair()?;
        let child = Command::new(&self.path)
            .args(&self.arguments)
            .args([job, &serde_json::to_string(&budget)?])
            // Of the environment it gets what the program needs to start, no more.
            .env_clear()
            .envs(std::env::var_os(LIBRARIES).map(|folders| (LIBRARIES, folders)))
            .env(ARENA.0, ARENA.1)
            // An interrupt of the terminal is this process's to handle.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Worker { child, stream, budget })
    }

    /// Keeps the worker's word on what holds it, and says once per process what doesn't.
    fn note(&self, jail: Jail) {
        static TOLD: Once = Once::new();
        if !jail.missing.is_empty() {
            TOLD.call_once(|| {
                tracing::warn!(
                    "the processes that read files and compile policies are held by {jail}; use a kernel that has \
                     both, or nothing but files and policies of people you trust"
                );
            });
        }
        self.jail.get_or_init(|| jail);
    }
}

/// A process that answers questions.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    stream: UnixStream,
    budget: Budget,
}

impl Worker {
    /// A worker of the program that was registered; none if there is none.
    ///
    /// # Errors
    /// [`End`]
    pub fn start(job: &str, budget: Budget) -> Result<Option<Self>, End> {
        PROGRAM.get().map(|program| program.start(job, budget)).transpose()
    }

    /// The answer to a question. After an error nothing more can be asked.
    ///
    /// # Errors
    /// [`End`]
    pub fn ask(&mut self, question: &[u8]) -> Result<Vec<u8>, End> {
        self.ask_within(question, self.budget.time, self.budget.answer)
    }

    /// [`Worker::ask`], and less time and length than the budget of the worker.
    ///
    /// # Errors
    /// [`End`]
    pub fn ask_within(
        &mut self,
        question: &[u8],
        time: Duration,
        answer: u64,
    ) -> Result<Vec<u8>, End> {
        let mut stream = Until::new(&self.stream, time);
        let asked = frames::write(&mut stream, question);
        let answered = asked.and_then(|()| frames::read(&mut stream, answer));
        let answered = answered.and_then(|it| it.ok_or(io::ErrorKind::UnexpectedEof.into()));
        answered.map_err(|error| self.end(&error, time, answer))
    }

    /// Why there is no answer: ours, or how the process ended, which closed its side.
    fn end(&mut self, error: &io::Error, time: Duration, answer: u64) -> End {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return End::Time(time),
            io::ErrorKind::FileTooLarge => return End::Length(answer),
            _ => {}
        }
        let status = match self.wait() {
            Ok(status) => status,
            Err(error) => return End::Broken(error.to_string()),
        };
        let mut words = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(LAST_WORDS).read_to_end(&mut words);
        }
        let words = String::from_utf8_lossy(&words);
        let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
        // Rust says so and aborts; the last is said where there is no room for the stack of a thread.
        let starved = ["memory allocation of", "Cannot allocate memory", "out of memory"];
        if says(&starved) || says(&["Resource temporarily unavailable"]) {
            return End::Memory(self.budget.memory);
        }
        if says(&["overflowed its stack"]) {
            return End::Stack;
        }
        match (status.signal(), words.lines().rfind(|line| !line.trim().is_empty())) {
            // SIGKILL is what comes a second after SIGXCPU.
            (Some(SIGXCPU | SIGKILL), _) if let Some(limit) = self.budget.processor_seconds => {
                End::Processor(limit)
            }
            (Some(signal), None) => End::Died(format!("signal {signal}")),
            (Some(SIGKILL), Some(_)) => End::Died(format!("signal {SIGKILL}")),
            (_, Some(last)) => End::Died(text::clean(last, 300)),
            (None, None) => End::Died(match status.code() {
                Some(code) => format!("exit code {code}"),
                None => status.to_string(),
            }),
        }
    }

    /// Waits for a process that has closed its side. One that breaks its word and still runs is ended.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        let end = Instant::now() + MOMENT;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What a worker says before its first answer.
    const HELLO: &str = r"printf '\002\000\000\000\000\000\000\000{}'; ";

    fn worker(script: &str, time: u64) -> Worker {
        let program = Program::new("/bin/sh", &["-c", &format!("{HELLO}{script}")]);
        program.start("job", Budget::reading(1 << 30, Duration::from_millis(time), 1000)).unwrap()
    }

    #[test]
    fn a_worker_answers_as_often_as_it_is_asked() {
        let mut echo = worker("exec cat", 5000);
        for question in [&b"one"[..], b"", b"three"] {
            assert_eq!(echo.ask(question).unwrap(), question);
        }
        assert!(matches!(echo.ask(&[7; 1001]), Err(End::Length(1000))));
    }

    #[test]
    fn a_worker_that_is_late_or_ends_is_an_error() {
        let start = Instant::now();
        let late = worker("sleep 60", 200).ask(b"x").unwrap_err();
        assert_eq!(late.to_string(), "takes more than 0.2 s");
        // Longer than what the sockets hold.
        let mut deaf = worker("sleep 60", 200);
        assert!(matches!(deaf.ask(&vec![0; 4 << 20]), Err(End::Time(_))));
        drop(deaf);
        // A byte now and then is no answer either.
        let drips = "while :; do printf x; sleep 0.05; done";
        assert!(matches!(worker(drips, 300).ask(b"x"), Err(End::Time(_) | End::Length(_))));
        let drips = "printf '\\144\\0\\0\\0\\0\\0\\0\\0'; while :; do printf x; sleep 0.05; done";
        assert!(matches!(worker(drips, 300).ask(b"x"), Err(End::Time(_))));
        assert!(start.elapsed() < Duration::from_secs(20));
        for (script, expected) in [
            ("head -c 8 >/dev/null; kill -9 $$", "ends the process that reads it (signal 9)"),
            ("head -c 8 >/dev/null; exit 3", "ends the process that reads it (exit code 3)"),
            (
                "head -c 8 >/dev/null; echo 'no such job' >&2; exit 1",
                "ends the process that reads it (no such job)",
            ),
            (
                "head -c 8 >/dev/null; echo memory allocation of 9 bytes failed >&2; kill -6 $$",
                "takes more than 1024 MiB of memory",
            ),
            (
                "head -c 8 >/dev/null; echo thread has overflowed its stack >&2; kill -6 $$",
                "is nested too deeply",
            ),
        ] {
            assert_eq!(worker(script, 5000).ask(b"x").unwrap_err().to_string(), expected);
        }
    }
}
