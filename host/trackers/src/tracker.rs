//! What a tracker does, and why it may fail.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::event::{Ending, Event};

/// One tracker of one run. It is called on a thread of its own, one call after the other.
pub trait Tracker: Send {
    /// How long events are gathered before it gets them.
    fn gathers(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether it does anything with [`Event::Stage`].
    fn wants_stages(&self) -> bool {
        false
    }

    /// Passes events on, in order. Where it fails it may get the same ones again.
    ///
    /// # Errors
    /// What keeps them from being delivered.
    fn take(&mut self, events: &[Arc<Event>], clock: &Clock) -> Result<(), Trouble>;

    /// The run is over. Not called where the time for that is over, too.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn end(&mut self, ending: &Ending, clock: &Clock) -> Result<(), Trouble>;
}

/// Why something was not delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// In a few words, without a full stop.
    pub problem: String,
    /// Whether another attempt may come to something else.
    pub passing: bool,
    /// For how long it wants to be left alone.
    pub rest: Option<Duration>,
}

impl Trouble {
    pub fn lasting(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), passing: false, rest: None }
    }
}
