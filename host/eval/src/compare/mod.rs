//! Several runs beside each other: what each method did to safety and usefulness, over
//! all seeds it was tried with.
//!
//! Runs that differ only in their seed are one method. The reference before training and
//! the plain fine-tuning that runs compare with are methods of their own, counted once
//! per seed however many runs have them.

pub mod export;
mod member;
mod method;
mod metric;
mod spread;

use std::collections::BTreeMap;
use std::path::PathBuf;

use member::members;
use method::methods;
use serde::Serialize;

use crate::report::Report;

pub use export::Format;
pub use method::Method;
pub use metric::{Judged, Metric, Unit};
pub use spread::Spread;

/// A run that has ended, as far as a comparison reads it.
pub struct Run {
    /// The folder of the run.
    pub folder: PathBuf,
    /// The seed of all its randomness.
    pub seed: u64,
    /// The resolved configuration, and the digests of what it names, by dotted keys.
    pub facts: BTreeMap<String, String>,
    /// What it ended with.
    pub report: Report,
}

/// The methods of some runs, in the order in which the runs were named, after what came
/// before any policy.
#[derive(Debug, Serialize)]
pub struct Compared {
    pub methods: Vec<Method>,
    /// What is not in the table, and why.
    pub notices: Vec<String>,
}

impl Compared {
    /// `notices` says what was left out of `runs`, and why.
    pub fn of(runs: &[Run], mut notices: Vec<String>) -> Self {
        let methods = methods(members(runs), &mut notices);
        Self { methods, notices }
    }

    /// Those that any method has, in the order of a table.
    pub fn metrics(&self) -> Vec<&Metric> {
        let all = self.methods.iter().flat_map(|method| method.metrics.keys());
        let mut all: Vec<&Metric> = all.collect();
        all.sort();
        all.dedup();
        all
    }
}
