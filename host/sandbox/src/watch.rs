//! Which parts of a component were reached, for one whose parts report themselves.
//!
//! A component has no way to tell its host anything but its answers. One that was changed for the
//! purpose has a table whose maximum is that of none of its own tables, and a part that is reached
//! asks for it to grow, its number plus one being how far. The table never grows: the host hears
//! the question, which is all that is wanted.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// What an engine heard of its policies.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Maximum of the tables that report.
    pub(crate) mark: u32,
    reached: Mutex<BTreeSet<u32>>,
}

impl Watch {
    pub(crate) fn new(mark: u32) -> Self {
        Self { mark, reached: Mutex::default() }
    }

    pub(crate) fn add(&self, reached: BTreeSet<u32>) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).extend(reached);
    }

    pub(crate) fn reached(&self) -> BTreeSet<u32> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
