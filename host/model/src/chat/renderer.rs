//! Where templates are rendered: in processes that can be given up, since an engine that checks its instructions
//! still follows values wherever they lead. A program without such processes renders here.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host_files::apart::{self, Budget, End, Worker};
use serde::{Deserialize, Serialize};

use super::date::Moment;
use super::engine::{Engine, Facts, Task, Trouble};

/// Name of the job, as a worker is started with it.
pub const JOB: &str = "chat-template";
/// A conversation takes a millisecond.
const BUDGET: Budget = Budget::reading(1 << 30, Duration::from_secs(20), 256 << 20);

/// A template that is ready to render.
#[derive(Clone)]
pub enum Renderer {
    Here(Arc<Engine>),
    Apart(Arc<Pool>),
}

/// The first question to a worker; all others are a [`Task`].
#[derive(Serialize, Deserialize)]
struct Order {
    text: String,
    moment: String,
}

type Answer<T> = Result<T, Trouble>;

impl Renderer {
    pub fn new(text: &str, moment: Moment) -> Answer<(Self, Facts)> {
        let order = Order { text: text.to_owned(), moment: moment.to_string() };
        if let Some((worker, facts)) = start(&order)? {
            let pool = Pool { order, idle: Mutex::new(vec![worker]), end: Mutex::new(None) };
            return Ok((Self::Apart(Arc::new(pool)), facts));
        }
        let (engine, facts) = Engine::new(text, moment)?;
        Ok((Self::Here(Arc::new(engine)), facts))
    }

    pub fn render(&self, task: &Task) -> Answer<String> {
        match self {
            Self::Here(engine) => engine.render(task),
            Self::Apart(pool) => pool.render(task),
        }
    }
}

fn start(order: &Order) -> Answer<Option<(Worker, Facts)>> {
    let Some(mut worker) = Worker::start(JOB, BUDGET).map_err(bounds)? else {
        return Ok(None);
    };
    let facts = ask(&mut worker, order)?;
    Ok(Some((worker, facts)))
}

fn bounds(end: End) -> Trouble {
    Trouble::Bounds(end.to_string())
}

fn ask<T: for<'a> Deserialize<'a>>(worker: &mut Worker, question: &impl Serialize) -> Answer<T> {
    let question = serde_json::to_vec(question).map_err(|e| Trouble::Refused(e.to_string()))?;
    let answer = worker.ask(&question).map_err(bounds)?;
    let broken = |e: serde_json::Error| Trouble::Bounds(format!("isn't answered ({e})"));
    serde_json::from_slice::<Answer<T>>(&answer).map_err(broken)?
}

/// Workers of one template: as many as conversations are rendered at once.
pub struct Pool {
    order: Order,
    idle: Mutex<Vec<Worker>>,
    /// How the first one ended that did. The template isn't tried again then: each try may take the whole budget.
    end: Mutex<Option<Trouble>>,
}

impl Pool {
    fn render(&self, task: &Task) -> Answer<String> {
        if let Some(end) = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(end);
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut worker = match idle {
            Some(worker) => worker,
            None => match start(&self.order)? {
                Some((worker, _)) => worker,
                None => return Err(Trouble::Bounds("lost its program".into())),
            },
        };
        let answer = ask(&mut worker, task);
        match &answer {
            Err(end @ Trouble::Bounds(_)) => {
                *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end.clone());
            }
            _ => self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker),
        }
        answer
    }
}

/// The worker's side of [`JOB`].
///
/// # Errors
/// As [`apart::serve`].
pub fn serve(arguments: &[OsString]) -> std::io::Result<()> {
    let mut engine = None;
    apart::serve(arguments, |question| {
        let answer = match &engine {
            None => json(&compile(question).map(|(made, facts)| {
                engine = Some(made);
                facts
            })),
            Some(engine) => json(&read::<Task>(question).and_then(|task| engine.render(&task))),
        };
        answer.unwrap_or_default()
    })
}

fn compile(question: &[u8]) -> Answer<(Engine, Facts)> {
    let order: Order = read(question)?;
    let moment = Moment::parse(&order.moment);
    Engine::new(&order.text, moment.ok_or_else(|| Trouble::Invalid("has no moment".into()))?)
}

fn read<T: for<'a> Deserialize<'a>>(question: &[u8]) -> Answer<T> {
    serde_json::from_slice(question).map_err(|e| Trouble::Refused(e.to_string()))
}

fn json(answer: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(answer)
}
