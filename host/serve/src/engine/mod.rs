//! The model on a thread of its own: whoever asks joins those whose answers are being generated, and leaves when its
//! own has ended or nobody waits for it any more.

mod ask;
mod schedule;
mod score;
mod utterance;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use host_model::lora::Lora;
use host_model::{Model, Overlay, Steering};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use ask::Job;
pub use ask::{Answer, Ask, Delta, Event, Failure, Finish, Scored};
use schedule::Schedule;

/// What is served.
pub struct Served {
    /// The model.
    pub model: Model,
    /// What it learned.
    pub adapter: Option<Lora>,
    /// What it is steered with.
    pub steering: Option<Steering>,
}

impl Served {
    fn overlay(&self) -> Overlay<'_> {
        Overlay { adapter: self.adapter.as_ref(), steering: self.steering.as_ref() }
    }
}

/// Counts that both sides look at.
#[derive(Default)]
struct Gauges {
    waiting: AtomicUsize,
    running: AtomicUsize,
    /// Set when answers that haven't begun are told that there will be none.
    ending: AtomicBool,
}

/// The thread of a model.
pub struct Engine {
    served: Arc<Served>,
    gauges: Arc<Gauges>,
    /// Most answers that wait.
    queue: usize,
    jobs: Mutex<Option<Sender<Job>>>,
}

/// Why an answer can't be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many wait as may wait.
    Queue,
    /// The program is ending.
    Ending,
}

impl Engine {
    /// Starts the thread: at most `batch` answers are generated at a time, `queue` more wait. The thread ends when the
    /// engine is dropped or [`Engine::end`] was called, and all answers have ended.
    ///
    /// # Errors
    /// If the system has no thread.
    pub fn start(
        served: Served,
        batch: usize,
        queue: usize,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, inbox) = channel();
        let (served, gauges) = (Arc::new(served), Arc::<Gauges>::default());
        let engine =
            Self { served: served.clone(), gauges: gauges.clone(), queue, jobs: Some(jobs).into() };
        let thread = std::thread::Builder::new().name("model".into()).spawn(move || {
            Schedule::new(&served, &gauges, batch).run(&inbox);
        })?;
        Ok((engine, thread))
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.served.model
    }

    /// Answers that are being generated, and answers that wait.
    pub fn load(&self) -> (usize, usize) {
        let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (load(&self.gauges.running), load(&self.gauges.waiting))
    }

    /// Asks for answers; the events carry their places in the list. Dropping the receiver takes the question back.
    ///
    /// # Errors
    /// [`Full`] where they can't wait.
    pub fn ask(&self, asks: Vec<Ask>) -> Result<UnboundedReceiver<(usize, Event)>, Full> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(jobs) = jobs.as_ref() else { return Err(Full::Ending) };
        let count = asks.len();
        // Only this side adds, and under the lock.
        if self.gauges.waiting.load(Ordering::Relaxed) + count > self.queue {
            return Err(Full::Queue);
        }
        self.gauges.waiting.fetch_add(count, Ordering::Relaxed);
        let (events, receiver) = unbounded_channel();
        let asks: VecDeque<(usize, Ask)> = asks.into_iter().enumerate().collect();
        jobs.send(Job { asks, events }).map_err(|_| Full::Ending)?;
        Ok(receiver)
    }

    /// Takes no more questions; answers that haven't begun fail, the others come to their ends.
    pub fn end(&self) {
        self.gauges.ending.store(true, Ordering::Relaxed);
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
