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
mod run;
mod spread;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use member::members;
use method::methods;
use run::{Read, Run};

pub use export::Format;
pub use method::Method;
pub use metric::{Judged, Metric, Unit};
pub use spread::Spread;

/// The methods of some runs, in the order in which the runs were named, after what came
/// before any policy.
#[derive(Debug, Serialize)]
pub struct Compared {
    pub methods: Vec<Method>,
    /// What is not in the table, and why.
    pub notices: Vec<String>,
}

impl Compared {
    /// Reads the reports of runs.
    ///
    /// # Errors
    /// A folder that is no run, a report that can't be read, or no run that has ended.
    pub fn of(folders: &[PathBuf]) -> Result<Self> {
        let mut notices = Vec::new();
        let mut runs: Vec<Run> = Vec::new();
        for folder in folders {
            match Run::read(folder)? {
                Read::Ended(run) => runs.push(*run),
                Read::Unfinished(why) => notices.push(why),
            }
        }
        if runs.is_empty() {
            let path = folders.first().map_or(Path::new("runs"), PathBuf::as_path);
            return Err(Error::file(
                path,
                "there is no run that has ended; finish one with host train --resume",
            ));
        }
        let methods = methods(members(&runs), &mut notices);
        Ok(Self { methods, notices })
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

#[cfg(test)]
mod tests;
