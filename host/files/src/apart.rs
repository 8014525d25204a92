//! Work on what nobody vouches for, in a process of its own that can be given up.
//!
//! Some formats can't be read within bounds: a template may nest a value until the stack ends, a column may unfold
//! to more than there is memory. So the program runs itself again as a worker with a limit on memory, asks it over a
//! pair of sockets, and waits only so long. What ends the worker is an error here.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::text;
use crate::ulimit::{Resource, restrict};

/// Where the program's own libraries are found (those of CUDA, say).
const LIBRARIES: &str = "LD_LIBRARY_PATH";
/// Of address space, which is what the limit counts, the program's allocator would reserve a GiB at once.
const ARENA: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "16384");
/// Of what a worker says on standard error.
const LAST_WORDS: u64 = 4096;
/// How much longer than its host a worker waits before it ends itself: it may be alone.
const GRACE: Duration = Duration::from_secs(5);

/// How a worker is started: a program that calls [`serve`] when it gets these arguments, the name of a job, its
/// memory in bytes and its patience in milliseconds.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

static PROGRAM: OnceLock<Program> = OnceLock::new();

/// Names the program that work is given to; without one it is done in this process.
pub fn register(path: PathBuf, arguments: &[&str]) {
    let arguments = arguments.iter().map(OsString::from).collect();
    // The first one stays.
    let _ = PROGRAM.set(Program { path, arguments });
}

/// What one answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Address space of the worker, in bytes.
    pub memory: u64,
    /// Time for one answer.
    pub time: Duration,
    /// Bytes of an answer.
    pub answer: u64,
}

/// Why there is no answer. Said of the file that the work was about.
#[derive(Debug, Clone)]
pub enum End {
    /// The time is over.
    Time(Duration),
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
            Self::Memory(limit) => write!(f, "takes more than {} MiB of memory", limit >> 20),
            Self::Stack => f.write_str("is nested too deeply"),
            Self::Length(limit) => write!(f, "makes more than {} MiB", limit >> 20),
            Self::Died(how) => write!(f, "ends the process that reads it ({how})"),
            Self::Broken(why) => write!(f, "can't be read in a process of its own ({why})"),
        }
    }
}

/// A process that answers questions.
pub struct Worker {
    child: Child,
    stream: UnixStream,
    budget: Budget,
}

impl Worker {
    /// A worker for a job; none if no program is registered.
    ///
    /// # Errors
    /// [`End::Broken`] when it can't be started.
    pub fn start(job: &str, budget: Budget) -> Result<Option<Self>, End> {
        let broken = |error: io::Error| End::Broken(error.to_string());
        PROGRAM.get().map(|program| Self::of(program, job, budget).map_err(broken)).transpose()
    }

    fn of(program: &Program, job: &str, budget: Budget) -> io::Result<Self> {
        let (stream, theirs) = UnixStream::pair()?;
        let child = Command::new(&program.path)
            .args(&program.arguments)
            .args([job, &budget.memory.to_string(), &budget.time.as_millis().to_string()])
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
        Ok(Self { child, stream, budget })
    }

    /// The answer to a question. After an error nothing more can be asked.
    ///
    /// # Errors
    /// [`End`]
    pub fn ask(&mut self, question: &[u8]) -> Result<Vec<u8>, End> {
        self.exchange(question).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => End::Time(self.budget.time),
            io::ErrorKind::FileTooLarge => End::Length(self.budget.answer),
            _ => self.end(),
        })
    }

    fn exchange(&mut self, question: &[u8]) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.budget.time;
        self.stream.set_write_timeout(Some(self.budget.time))?;
        write_frame(&mut self.stream, question)?;
        let left = deadline.saturating_duration_since(Instant::now());
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        read_frame(&mut self.stream, self.budget.answer)?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// How the process ended, which closed its side.
    fn end(&mut self) -> End {
        let mut words = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(LAST_WORDS).read_to_end(&mut words);
        }
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return End::Broken(error.to_string()),
        };
        let words = String::from_utf8_lossy(&words);
        let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
        if says(&["memory allocation of", "Cannot allocate memory", "out of memory"]) {
            return End::Memory(self.budget.memory);
        }
        if says(&["overflowed its stack"]) {
            return End::Stack;
        }
        End::Died(match (status.signal(), words.lines().rfind(|line| !line.trim().is_empty())) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(last)) => text::clean(last, 200),
            (None, None) => status.to_string(),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_frame(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

/// A frame of at most `most` bytes; none where the other side has closed.
fn read_frame(from: &mut impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let length = u64::from_le_bytes(length);
    if length > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    let is_whole = bytes.len() as u64 == length;
    if is_whole { Ok(Some(bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The worker's side: answers the questions on standard input to standard output until there are no more. `arguments`
/// are those behind the name of the job.
///
/// # Errors
/// When the limits can't be set, or the other side can't be spoken with.
pub fn serve(arguments: &[OsString], mut answer: impl FnMut(&[u8]) -> Vec<u8>) -> io::Result<()> {
    let number = |at: usize| arguments.get(at)?.to_str()?.parse::<u64>().ok();
    let (Some(memory), Some(time)) = (number(0), number(1)) else {
        return Err(io::Error::other("no budget"));
    };
    restrict(Resource::AS, memory, memory)?;
    restrict(Resource::CORE, 0, 0)?;
    restrict(Resource::FSIZE, 0, 0)?;
    end_when_late(Duration::from_millis(time) + GRACE);
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(question) = read_frame(&mut input, u64::MAX)? {
        SINCE.store(now(), Ordering::Relaxed);
        let bytes = answer(&question);
        SINCE.store(IDLE, Ordering::Relaxed);
        write_frame(&mut output, &bytes)?;
    }
    Ok(())
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
fn end_when_late(limit: Duration) {
    let limit = limit.as_millis() as u64;
    now();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let since = SINCE.load(Ordering::Relaxed);
            if since != IDLE && now().saturating_sub(since) > limit {
                std::process::abort();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn worker(script: &str, time: u64) -> Worker {
        let program =
            Program { path: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
        let budget = Budget { memory: 1 << 30, time: Duration::from_millis(time), answer: 1000 };
        Worker::of(&program, "job", budget).unwrap()
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
        assert!(start.elapsed() < Duration::from_secs(20));
        for (script, expected) in [
            ("head -c 8 >/dev/null; kill -9 $$", "ends the process that reads it (signal 9)"),
            ("head -c 8 >/dev/null; exit 3", "ends the process that reads it (exit status: 3)"),
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
