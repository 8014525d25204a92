//! Tapes reused from step to step.
//!
//! The system clears memory page by page before a process gets it again. For the tapes of
//! all blocks that took a fifth of a step's processor time.

use std::sync::{Mutex, PoisonError};

use super::adapter::Extent;
use super::tape::Tape;
use crate::config::Config;

/// Shared by all passes of a model.
#[derive(Default)]
pub(super) struct TapePool(Mutex<Vec<Tape>>);

impl TapePool {
    /// A tape with room for the rows of a batch in a layer; its values are unspecified.
    pub fn take(&self, config: &Config, layer: usize, rows: usize, extent: Extent) -> Tape {
        let spare = self.tapes().pop();
        let mut tape = spare.unwrap_or_default();
        tape.fit(config, layer, rows, extent);
        tape
    }

    /// Keeps tapes for the next step.
    pub fn keep(&self, tapes: impl IntoIterator<Item = Tape>) {
        self.tapes().extend(tapes);
    }

    /// Frees all tapes.
    pub fn clear(&self) {
        *self.tapes() = Vec::new();
    }

    fn tapes(&self) -> std::sync::MutexGuard<'_, Vec<Tape>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
