//! A policy that runs in a process of its own: what its code could do if the engine had a flaw,
//! it could do to that process alone, which has no files, no network and no privileges.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    call_site::Function,
    engine::Engine,
    fault::Failure,
    limits::{Limit, Limits},
    linked::{Cost, Linked, Reply},
    question::Question,
    wire::{receive, send},
    worker::{Order, Work, Worker},
};
use host_contract::Version;

/// Beyond the time that a call has: the process ends a call itself, so this is for one that
/// can't any more.
const GRACE: Duration = Duration::from_secs(10);
/// Memory of the process beside its policy.
const ENGINE: u64 = 1 << 30;
/// Longest line about the jail.
const LINE: u64 = 1 << 16;

/// Native code, and the process that runs it once it has been asked something. One that died is
/// started again at the next question.
pub(crate) struct Isolated {
    worker: Worker,
    limits: Arc<Limits>,
    export: String,
    mark: Option<u32>,
    code: Vec<u8>,
    process: Mutex<Option<Process>>,
}

struct Process {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    keeper: Arc<Keeper>,
}

impl Isolated {
    pub(crate) fn new(worker: &Worker, engine: &Engine, export: &str, code: Vec<u8>) -> Self {
        let (worker, limits, mark) = (worker.clone(), Arc::clone(&engine.limits), engine.mark());
        let (export, process) = (export.to_owned(), Mutex::default());
        Self { worker, limits, export, mark, code, process }
    }

    pub(crate) fn ask(&self, question: &Question<'_>) -> Reply {
        self.reply(question).unwrap_or_else(|failure| Reply {
            answer: Err(failure),
            reached: BTreeSet::new(),
        })
    }

    fn reply(&self, question: &Question<'_>) -> Result<Reply, Failure> {
        let started = Instant::now();
        let function = question.function();
        let mut slot = locked(&self.process);
        let mut process = match slot.take() {
            Some(running) => running,
            None => self.start()?,
        };
        process.keeper.allow(Some(self.limits.time(function) + GRACE));
        let answered = process.exchange(question, self.most(function));
        match answered {
            Ok(Some(reply)) => {
                process.keeper.allow(None);
                *slot = Some(process);
                let timed = |cost| Cost { time: started.elapsed(), ..cost };
                let answer = reply.answer.map(|(answer, cost)| (answer, timed(cost)));
                Ok(Reply { answer, ..reply })
            }
            Ok(None) => Err(process.keeper.died("")),
            Err(error) => Err(process.keeper.died(&format!(": {error}"))),
        }
    }

    fn start(&self) -> Result<Process, Failure> {
        let broken = |e: io::Error| {
            Failure::Engine(format!("the process that runs the policy can't be used: {e}"))
        };
        let mut child = self.worker.command().spawn().map_err(broken)?;
        let (to, from) = match (child.stdin.take(), child.stdout.take()) {
            (Some(to), Some(from)) => (to, BufReader::new(from)),
            _ => return Err(broken(io::Error::other("no pipes"))),
        };
        let keeper = Keeper::start(child).map_err(broken)?;
        let mut process = Process { to, from, keeper };
        process.keeper.allow(Some(GRACE + self.limits.time(Function::Load)));
        let work = Work::Run { export: self.export.clone(), mark: self.mark };
        let line = process.load(&Order { work, limits: (*self.limits).clone() }, &self.code);
        let (line, loaded) =
            line.map_err(|e| process.keeper.died(&format!(" while it loaded the policy: {e}")))?;
        process.keeper.allow(None);
        self.worker.note(&line).map_err(broken)?;
        loaded.map_err(|problem| {
            Failure::Engine(format!("{problem}; remove the cache of policies"))
        })?;
        Ok(process)
    }

    /// Names and types of the fields cost more than the values as the policy gave them; what was
    /// reached comes on top.
    fn most(&self, function: Function) -> u64 {
        4 * self.limits.allowed(Limit::Output, function) + (8 << 20)
    }
}

impl Process {
    fn load(&mut self, order: &Order, code: &[u8]) -> io::Result<(Vec<u8>, Result<(), String>)> {
        let mut first = serde_json::to_vec(order)?;
        first.push(b'\n');
        first.extend((code.len() as u64).to_le_bytes());
        self.to.write_all(&first)?;
        self.to.write_all(code)?;
        self.to.flush()?;
        let mut line = Vec::new();
        (&mut self.from).take(LINE).read_until(b'\n', &mut line)?;
        let loaded = receive(&mut self.from, LINE)?;
        Ok((line, loaded.ok_or(io::ErrorKind::UnexpectedEof)?))
    }

    fn exchange(&mut self, question: &Question<'_>, most: u64) -> io::Result<Option<Reply>> {
        send(&mut self.to, question)?;
        receive(&mut self.from, most)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.keeper.end();
    }
}

/// Ends a process that doesn't answer in time, from a thread of its own, since the one that
/// asked waits for the answer.
struct Keeper {
    child: Mutex<Child>,
    time: Mutex<Time>,
    changed: Condvar,
}

#[derive(Clone, Copy)]
enum Time {
    Unlimited,
    Until(Instant),
    /// It passed.
    Over,
    /// There is nothing left to keep.
    Done,
}

impl Keeper {
    fn start(child: Child) -> io::Result<Arc<Self>> {
        let (child, time) = (Mutex::new(child), Mutex::new(Time::Unlimited));
        let keeper = Arc::new(Self { child, time, changed: Condvar::new() });
        let kept = Arc::clone(&keeper);
        thread::Builder::new().name("policy-keeper".into()).spawn(move || kept.keep())?;
        Ok(keeper)
    }

    fn keep(&self) {
        let mut time = locked(&self.time);
        loop {
            time = match *time {
                Time::Done => return,
                Time::Unlimited | Time::Over => {
                    self.changed.wait(time).unwrap_or_else(PoisonError::into_inner)
                }
                Time::Until(end) => match end.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => {
                        let waited = self.changed.wait_timeout(time, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                    _ => {
                        *time = Time::Over;
                        let _ = locked(&self.child).kill();
                        time
                    }
                },
            };
        }
    }

    /// How long it has from now on; no limit while it is asked nothing.
    fn allow(&self, time: Option<Duration>) {
        let until = time.and_then(|time| Instant::now().checked_add(time));
        *locked(&self.time) = until.map_or(Time::Unlimited, Time::Until);
        self.changed.notify_one();
    }

    /// Why it said no more.
    fn died(&self, problem: &str) -> Failure {
        use std::os::unix::process::ExitStatusExt as _;
        if matches!(*locked(&self.time), Time::Over) {
            return Failure::Limit(Limit::Time);
        }
        let mut child = locked(&self.child);
        // One that broke its word and still runs is ended here.
        let _ = child.kill();
        let how = match child.wait() {
            Ok(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => format!("signal {signal}"),
                (None, code) => format!("exit code {}", code.unwrap_or_default()),
            },
            Err(error) => error.to_string(),
        };
        Failure::Trap(format!("the process that runs it ended ({how}){problem}"))
    }

    fn end(&self) {
        *locked(&self.time) = Time::Done;
        self.changed.notify_one();
        let mut child = locked(&self.child);
        let _ = child.kill().and_then(|()| child.wait());
    }
}

/// Memory that the process may write to: what a call may take, its arguments twice, its answer
/// as it goes through the frames, and the engine itself.
pub(crate) fn memory(limits: &Limits) -> u64 {
    let of = |limit| {
        let allowed = |function| limits.allowed(limit, function);
        allowed(Function::Calibrate).max(allowed(Function::Assess))
    };
    let arguments = 2 * of(Limit::Input) + of(Limit::Parameters);
    [of(Limit::Memory), arguments, 8 * of(Limit::Output), ENGINE].iter().sum()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The side of the process: loads the code, says that it is `loaded`, and answers until the host
/// has no more questions.
///
/// # Errors
/// A host that doesn't keep to the frames.
pub(crate) fn serve(
    limits: &Limits,
    export: &str,
    mark: Option<u32>,
    mut from: impl io::Read,
    mut to: impl io::Write,
    loaded: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let words = |e: io::Error| e.to_string();
    let mut length = [0; 8];
    from.read_exact(&mut length).map_err(words)?;
    let mut code = Vec::new();
    from.by_ref().take(u64::from_le_bytes(length)).read_to_end(&mut code).map_err(words)?;
    let linked = link(limits, export, mark, &code);
    drop(code);
    loaded()?;
    send(&mut to, &linked.as_ref().map(|_| ())).map_err(words)?;
    let Ok(linked) = linked else { return Ok(()) };
    while let Some(question) = receive::<Question<'_>>(&mut from, u64::MAX).map_err(words)? {
        send(&mut to, &linked.ask(&question)).map_err(words)?;
    }
    Ok(())
}

fn link(
    limits: &Limits,
    export: &str,
    mark: Option<u32>,
    code: &[u8],
) -> Result<Linked, String> {
    let mut engine = Engine::new(limits).map_err(|e| e.to_string())?;
    if let Some(mark) = mark {
        engine = engine.watching(limits.clone(), mark);
    }
    let version = Version::of_export(export).ok_or("this host doesn't speak its interface")?;
    let component = engine.load(code).map_err(|e| format!("its code can't be loaded: {e:#}"))?;
    // Now, while files can still be made, and before any code of the policy runs.
    component
        .initialize_copy_on_write_image()
        .map_err(|e| format!("its memory can't be prepared: {e:#}"))?;
    Linked::new(&engine, &component, export, version)
}
