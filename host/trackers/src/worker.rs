//! A thread for each tracker, and the queue before it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::event::{Ending, Event};
use crate::tracker::{Next, Tracker, Trouble};

/// Events that wait for a tracker; a step is one or two.
const QUEUE: usize = 4096;
/// Events that it gets at a time.
const BATCH: usize = 256;
/// The wait before the first repetition; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A tracker at work.
pub struct Worker {
    name: String,
    wants_stages: bool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    change: Condvar,
    clock: Clock,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Event>>,
    /// All that were meant for it.
    told: u64,
    delivered: u64,
    /// How the run ended.
    ending: Option<Ending>,
    /// What goes wrong, until a person was told.
    news: Option<String>,
    /// The last thing that went wrong.
    problem: Option<String>,
    /// Whether it takes nothing more.
    given_up: bool,
    over: bool,
    ended: bool,
}

impl Worker {
    /// Starts the thread; a machine that has none left is a tracker that takes nothing.
    pub fn start(name: &str, mut tracker: Box<dyn Tracker>) -> Self {
        let shared = Arc::<Shared>::default();
        let own = shared.clone();
        let wants_stages = tracker.wants_stages();
        let started = std::thread::Builder::new().name(format!("track {name}")).spawn(move || {
            let _over = Over(&own);
            work(tracker.as_mut(), &own);
        });
        if let Err(error) = started {
            let mut state = shared.lock();
            state.give_up(format!("there is no thread for it ({error})"));
            state.over = true;
        }
        Self { name: name.into(), wants_stages, shared }
    }

    pub fn push(&self, event: &Arc<Event>) {
        if matches!(event.as_ref(), Event::Stage { .. }) && !self.wants_stages {
            return;
        }
        let mut state = self.shared.lock();
        state.told += 1;
        if !state.given_up && state.queue.len() < QUEUE {
            state.queue.push_back(event.clone());
            self.shared.change.notify_all();
        }
    }

    /// What went wrong for the first time since it was asked last.
    pub fn news(&self) -> Option<String> {
        let news = self.shared.lock().news.take();
        news.map(|news| format!("{}: {news}", self.name))
    }

    /// The run is over; it may say so until `deadline`.
    pub fn close(&self, ending: Ending, deadline: Instant) {
        self.shared.clock.end_at(deadline);
        self.shared.lock().ending = Some(ending);
        self.shared.change.notify_all();
    }

    /// Waits until it is done or its time is over, and says what was left out.
    pub fn wait(&self) -> Option<String> {
        let mut state = self.shared.lock();
        loop {
            let left = self.shared.clock.left().unwrap_or_default();
            if state.over || left.is_zero() {
                break;
            }
            let waited = self.shared.change.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.shared.clock.stop();
        state.given_up = true;
        state.queue.clear();
        let left_out = state.told - state.delivered;
        let why = state.problem.clone();
        let why = why.unwrap_or_else(|| "there was no time for more".into());
        match (left_out, state.ended) {
            (0, true) => None,
            (0, false) => Some(format!("{}: was not told how the run ended ({why})", self.name)),
            (left_out, _) => Some(format!(
                "{}: {left_out} of {} records were left out ({why}); metrics.jsonl has them all",
                self.name, state.told
            )),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next events, as soon as there are any; none where the run is over and all is told.
    fn next(&self, gathers: Duration) -> Vec<Arc<Event>> {
        let waiting = |state: &mut State| state.queue.is_empty() && state.ending.is_none();
        let state = self.change.wait_while(self.lock(), waiting);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let gathering = |state: &mut State| state.queue.len() < BATCH && state.ending.is_none();
        let gathered = self.change.wait_timeout_while(state, gathers, gathering);
        let mut state = gathered.unwrap_or_else(PoisonError::into_inner).0;
        let length = state.queue.len().min(BATCH);
        state.queue.drain(..length).collect()
    }

    /// Waits before the next attempt; the end of the run cuts a wait short that nobody asked for.
    /// Whether there is time for another attempt.
    fn rest(&self, asked: Option<Duration>, attempt: u32) -> bool {
        let usual = (FIRST_WAIT * 2u32.saturating_pow(attempt.min(10))).min(LONGEST_WAIT);
        let now = Instant::now();
        let until = now + asked.unwrap_or(usual);
        let in_a_hurry = now + asked.unwrap_or(FIRST_WAIT);
        let mut state = self.lock();
        loop {
            let until = if state.ending.is_some() { until.min(in_a_hurry) } else { until };
            let wait = until.saturating_duration_since(Instant::now());
            let wait = self.clock.left().map_or(wait, |left| wait.min(left));
            if wait.is_zero() {
                return !self.clock.is_over();
            }
            let waited = self.change.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn failed(&mut self, problem: String, then: &str) {
        if self.problem.is_none() {
            self.news = Some(format!("{problem}; {then}"));
        }
        self.problem = Some(problem);
    }

    fn give_up(&mut self, problem: String) {
        self.failed(problem, "the run goes on without it");
        self.given_up = true;
        self.queue.clear();
    }
}

/// Marks a thread as over however it ends.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.change.notify_all();
    }
}

fn work(tracker: &mut dyn Tracker, shared: &Shared) {
    let clock = &shared.clock;
    let gathers = tracker.gathers();
    loop {
        let events = shared.next(gathers);
        if clock.is_over() {
            return;
        }
        if events.is_empty() {
            let Some(ending) = shared.lock().ending.clone() else { continue };
            shared.lock().ended = attempt(shared, || tracker.end(&ending, clock)) == Came::Through;
            return;
        }
        match attempt(shared, || tracker.take(&events, clock)) {
            Came::Through => shared.lock().delivered += events.len() as u64,
            Came::ToNothing => {}
            Came::ToTheEnd => return,
        }
    }
}

/// What became of an attempt.
#[derive(PartialEq, Eq)]
enum Came {
    Through,
    /// It is left out.
    ToNothing,
    /// Of the time, or of what the tracker takes.
    ToTheEnd,
}

/// Tries until it works, the trouble lasts, or the time is over.
fn attempt(shared: &Shared, mut act: impl FnMut() -> Result<(), Trouble>) -> Came {
    let mut number = 0;
    loop {
        let Err(Trouble { problem, next }) = act() else { return Came::Through };
        match next {
            Next::Stop => {
                shared.lock().give_up(problem);
                return Came::ToTheEnd;
            }
            Next::Skip => {
                shared.lock().failed(problem, "that is left out, and the run goes on");
                return Came::ToNothing;
            }
            Next::Retry(rest) => {
                shared.lock().failed(problem, "it is tried again, and the run goes on");
                if !shared.rest(rest, number) {
                    return Came::ToTheEnd;
                }
                number += 1;
            }
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
