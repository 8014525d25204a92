//! What can be found out about a policy and about a run, before and after: audits,
//! inspections, recorded cases, and the journal of a run.

pub mod audit;
pub mod cases;
pub mod inspect;
pub mod journal;
pub mod synthetic;
