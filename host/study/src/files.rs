//! Where the data sets of a study are.

use std::path::PathBuf;

use crate::scenario::{Variation, ood};

/// The data sets of a study, as every run reads them.
pub struct Files {
    pub folder: PathBuf,
    pub harmful: PathBuf,
    pub harmless: PathBuf,
    /// Harmful and harmless requests of other kinds.
    pub ood: [PathBuf; 2],
    pub task: PathBuf,
    pub canary: PathBuf,
    pub labelled: PathBuf,
    /// The same with the far test split.
    pub labelled_far: PathBuf,
    /// Rows of the task, as a run without an attack has them.
    pub rows: PathBuf,
    pub scores: PathBuf,
    /// How refusals begin, for the sensor.
    pub opening: &'static str,
}

impl Files {
    /// The harmful requests in a variation: files, and names of their sets.
    pub fn varied(&self, variation: Variation) -> [(PathBuf, String); 2] {
        let name = variation.name();
        let file = |of: &str| self.folder.join(format!("{of}-{name}.jsonl"));
        [(file("harmful"), name.to_owned()), (file("ood-harmful"), ood(Some(variation)))]
    }
}
