//! One optimizer step after the other: [`run()`] is the loop, on one page.

pub mod anchors;
pub mod context;
pub mod evaluations;
pub mod micro_batch;
pub mod run;
pub mod state;

pub use context::{Base, RunContext, TrainingSpec};
pub use run::{Ended, run};
