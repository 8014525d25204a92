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
    pub next: Next,
}

/// What to do after trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt may come to something else, after a rest that was asked for.
    Retry(Option<Duration>),
    /// These events are lost, and later ones may be delivered.
    Skip,
    /// Nothing more will be delivered.
    Stop,
}

impl Trouble {
    pub fn lasting(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), next: Next::Stop }
    }
}
