//! How a run tells a person what it is doing.

pub use host_data::{Progress, Silent};

use crate::records::StepRecord;

/// Progress of a whole run.
pub trait Observer: Progress {
    /// An optimizer step is done.
    fn step(&mut self, record: &StepRecord);
}

impl Observer for Silent {
    fn step(&mut self, _: &StepRecord) {}
}
