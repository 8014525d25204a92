//! Policies that are asked about steps which no model made; what a step measures is made up
//! by the signals themselves.

mod labelled;
mod subject;

pub use host_contract::{Damage, Row, Step, Synthetic};
pub use labelled::examples;
pub use subject::{Subject, run_info};

#[cfg(test)]
mod tests;
