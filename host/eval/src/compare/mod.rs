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
mod outcomes;
mod paired;
mod plot;
mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use member::members;
use method::methods;
use serde::Serialize;

use crate::report::{Report, footnotes};

pub use export::Format;
pub use method::Method;
pub use method::{Against, is_named};
pub use metric::{Judged, Metric, Unit};
pub use outcomes::Outcomes;
pub use paired::{Paired, Pooled};
pub use plot::{Placed, colours_of, pareto};
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
    /// What each answer of its models counts as, by the models' names in generations.jsonl.
    pub outcomes: BTreeMap<String, Outcomes>,
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
    /// Each method is paired with the one named `against`, else with plain fine-tuning or `sft`;
    /// of several, with the one that has the most settings in common with it.
    pub fn of(runs: &[Run], against: Option<&str>, mut notices: Vec<String>) -> Self {
        let methods = methods(members(runs), against, &mut notices);
        notices.extend(mixed(&methods));
        Self { methods, notices }
    }

    /// What found the refusals, with its error rates: lines below a table.
    pub fn footnotes(&self) -> Vec<String> {
        let mut lines = footnotes(self.methods.iter().flat_map(|method| &method.refusals_by));
        let unknown: usize = self.methods.iter().map(|method| method.refusals_by_unknown).sum();
        if unknown > 0 {
            lines.push(format!(
                "Refusals of {unknown} models by phrases: their reports are of before error \
                 rates were kept; `host eval --rescore RUN/generations.jsonl` finds them anew"
            ));
        }
        lines
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

/// Says so where the shares of refusals don't compare.
fn mixed(methods: &[Method]) -> Option<String> {
    let ways: BTreeSet<String> = methods
        .iter()
        .flat_map(|method| {
            let named = method.refusals_by.iter().map(crate::measure::RefusalsBy::name);
            let unknown = (method.refusals_by_unknown > 0).then(|| "an earlier host".to_owned());
            named.chain(unknown)
        })
        .collect();
    (ways.len() > 1).then(|| {
        let ways: Vec<String> = ways.into_iter().collect();
        format!(
            "refusals were found by {}: these shares don't compare; `host eval --rescore \
             RUN/generations.jsonl` finds them anew for any run",
            ways.join(", and in other runs by ")
        )
    })
}
