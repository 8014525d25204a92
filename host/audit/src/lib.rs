//! What can be found out about a policy and about a run, before and after: audits,
//! inspections, recorded cases, and the journal of a run.

mod agreement;
pub mod calibration;
pub mod cases;
pub mod checks;
pub mod coverage;
mod error;
pub mod inspect;
pub mod journal;
pub mod seal;
pub mod synthetic;
pub mod timestamp;

pub use error::FileError;
