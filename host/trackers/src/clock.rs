//! How much time a tracker has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// As long as a run goes on there is no hurry; after it a tracker has until a deadline.
#[derive(Clone, Default)]
pub struct Clock {
    time: Arc<Mutex<Time>>,
}

#[derive(Default)]
struct Time {
    deadline: Option<Instant>,
    is_over: bool,
}

impl Clock {
    /// The run is over, and what is left to do must be done until then.
    pub fn end_at(&self, deadline: Instant) {
        self.lock().deadline = Some(deadline);
    }

    /// Nobody waits any more.
    pub fn stop(&self) {
        self.lock().is_over = true;
    }

    /// How much time is left, once the run is over.
    pub fn left(&self) -> Option<Duration> {
        let deadline = self.lock().deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether nobody waits any more, so that the folder of the run is closed.
    pub fn is_over(&self) -> bool {
        let Time { deadline, is_over } = *self.lock();
        is_over || deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
