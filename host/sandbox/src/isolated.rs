//! A policy that runs in a process of its own: what its code could do if the engine had a flaw,
//! it could do to that process alone, which has no files, no network and no privileges.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use host_contract::Version;
use host_files::apart::{self, Budget, End, Task};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    call_site::Function,
    engine::Engine,
    fault::Failure,
    limits::{Limit, Limits},
    linked::{Cost, Linked, Reply},
    question::Question,
    wire,
    worker::Worker,
};

/// As a worker is started with it.
pub(crate) const JOB: &str = "run";
/// Beyond the time that a call has: the process ends a call itself, so this is for one that
/// can't any more.
const GRACE: Duration = Duration::from_secs(10);
/// Memory of the process beside its policy.
const ENGINE: u64 = 1 << 30;

/// The first question; every other one is a [`Question`].
#[derive(Clone, Serialize, Deserialize)]
struct Order {
    limits: Limits,
    /// The name under which the component exports its functions.
    export: String,
    /// Maximum of the tables by which it reports what is reached.
    mark: Option<u32>,
    /// Native code.
    code: ByteBuf,
}

/// Native code, and the process that runs it once it has been asked something. One that died is
/// started again at the next question.
pub(crate) struct Isolated {
    worker: Worker,
    limits: Arc<Limits>,
    order: Vec<u8>,
    process: Mutex<Option<apart::Worker>>,
}

impl Isolated {
    pub(crate) fn new(
        worker: &Worker,
        engine: &Engine,
        export: &str,
        code: Vec<u8>,
    ) -> Result<Self, String> {
        let limits = Arc::clone(&engine.limits);
        let order = Order {
            limits: (*limits).clone(),
            export: export.to_owned(),
            mark: engine.mark(),
            code: code.into(),
        };
        let order = wire::to_bytes(&order).map_err(|e| e.to_string())?;
        Ok(Self { worker: worker.clone(), limits, order, process: Mutex::default() })
    }

    pub(crate) fn ask(&self, question: &Question<'_>) -> Reply {
        let reached = BTreeSet::new();
        self.reply(question).unwrap_or_else(|failure| Reply { answer: Err(failure), reached })
    }

    fn reply(&self, question: &Question<'_>) -> Result<Reply, Failure> {
        let started = Instant::now();
        let function = question.function();
        let broken = |e: rmp_serde::encode::Error| Failure::Engine(e.to_string());
        let question = wire::to_bytes(question).map_err(broken)?;
        let mut slot = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let mut process = match slot.take() {
            Some(running) => running,
            None => self.start()?,
        };
        let time = self.limits.time(function) + GRACE;
        let answer = process.ask_within(&question, time, self.most(function));
        let reply: Reply = wire::from_bytes(&answer.map_err(|end| died(end, ""))?)
            .map_err(|e| Failure::Trap(format!("the process that runs it has no answer: {e}")))?;
        *slot = Some(process);
        let timed = |cost| Cost { time: started.elapsed(), ..cost };
        let answer = reply.answer.map(|(answer, cost)| (answer, timed(cost)));
        Ok(Reply { answer, ..reply })
    }

    fn start(&self) -> Result<apart::Worker, Failure> {
        let longest = self.limits.time(Function::Calibrate).max(self.limits.time(Function::Assess));
        let budget = Budget {
            task: Task::Run,
            memory: memory(&self.limits),
            processor_seconds: None,
            time: longest + GRACE,
            answer: self.most(Function::Calibrate).max(self.most(Function::Assess)),
        };
        let loading = |end| died(end, " while it loaded the policy");
        let mut process = self.worker.start(JOB, budget).map_err(loading)?;
        let time = self.limits.time(Function::Load) + GRACE;
        let loaded = process.ask_within(&self.order, time, 1 << 16).map_err(loading)?;
        let loaded: Result<(), String> =
            wire::from_bytes(&loaded).unwrap_or_else(|e| Err(e.to_string()));
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

fn died(end: End, when: &str) -> Failure {
    match end {
        End::Time(_) => Failure::Limit(Limit::Time),
        End::Broken(why) => {
            Failure::Engine(format!("the process that runs the policy can't be used: {why}"))
        }
        End::Died(how) => Failure::Trap(format!("the process that runs it ended{when} ({how})")),
        other => Failure::Trap(format!("the process that runs it ended{when}: it {other}")),
    }
}

/// Memory that the process may write to: what a call may take, its arguments twice, its answer
/// as it goes through the frames, and the engine itself.
fn memory(limits: &Limits) -> u64 {
    let of = |limit| {
        let allowed = |function| limits.allowed(limit, function);
        allowed(Function::Calibrate).max(allowed(Function::Assess))
    };
    let arguments = 2 * of(Limit::Input) + of(Limit::Parameters);
    [of(Limit::Memory), arguments, 8 * of(Limit::Output), ENGINE].iter().sum()
}

/// The side of the process: loads the code first, and answers until the host has no more
/// questions.
///
/// # Errors
/// As for [`apart::serve`].
pub(crate) fn serve(arguments: &[OsString]) -> io::Result<()> {
    let mut linked = None;
    apart::serve(arguments, |question| {
        let answer = match &linked {
            None => wire::to_bytes(&link(question).map(|made| linked = Some(made))),
            Some(linked) => match wire::from_bytes(question) {
                Ok(question) => wire::to_bytes(&linked.ask(&question)),
                Err(_) => Ok(Vec::new()),
            },
        };
        answer.unwrap_or_default()
    })
}

fn link(question: &[u8]) -> Result<Linked, String> {
    let Order { limits, export, mark, code } =
        wire::from_bytes(question).map_err(|e| format!("no order: {e}"))?;
    let mut engine = Engine::new(&limits).map_err(|e| e.to_string())?;
    if let Some(mark) = mark {
        engine = engine.watching(limits, mark);
    }
    let version = Version::of_export(&export).ok_or("this host doesn't speak its interface")?;
    let component = engine.load(&code).map_err(|e| format!("its code can't be loaded: {e:#}"))?;
    // Now, while files can still be made, and before any code of the policy runs.
    component
        .initialize_copy_on_write_image()
        .map_err(|e| format!("its memory can't be prepared: {e:#}"))?;
    Linked::new(&engine, &component, &export, version)
}
