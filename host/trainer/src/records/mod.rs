//! What a run leaves on disk while it goes on: metrics, journal, checkpoints, and the folder
//! they are in; and how it tells a person.

pub mod checkpoint;
mod loss_trend;
pub mod observer;
mod recorder;
pub mod run_dir;
mod step;

pub use host_eval::report::{Ending, Totals};
pub use loss_trend::LossTrend;
pub use recorder::RunRecorder;
pub use step::{StepRecord, add_step};
