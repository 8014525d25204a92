//! The end of a run, for people and for programs.

mod findings;
mod markdown;
mod models;
mod policies;
mod table;
mod training;

use std::path::{Path, PathBuf};

use host_data::Notices;
use host_files::Page;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::evaluation::Evaluation;

pub use markdown::escape as escape_markdown;
pub use models::{footnotes, rate};
pub use policies::{candidates_rows, candidates_table, what_if_table};
pub use table::Table;
pub use training::{Ending, SteeringState, Totals};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub run: PathBuf,
    pub policy: Option<String>,
    /// The reference: the model before any step.
    pub before: Option<Evaluation>,
    /// Plain fine-tuning from the same seed, if the run compared with it.
    pub baseline: Option<Trained>,
    pub baseline_after: Option<Evaluation>,
    pub trained: Option<Trained>,
    pub after: Option<Evaluation>,
    /// Most memory that the program held at a time, in bytes; where the system says it.
    pub peak_memory: Option<u64>,
    /// What a person should know of the data that were read.
    #[serde(default, skip_serializing_if = "Notices::is_empty")]
    pub notices: Notices,
}

/// A training and the steps it was planned to have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trained {
    #[serde(flatten)]
    pub totals: Totals,
    pub total: u64,
}

impl Report {
    /// `policy` names the policies, if there are any.
    pub fn new(run: &Path, policy: Option<String>) -> Self {
        Self {
            run: run.into(),
            policy,
            before: None,
            baseline: None,
            baseline_after: None,
            trained: None,
            after: None,
            peak_memory: None,
            notices: Notices::default(),
        }
    }

    pub fn ending(&self) -> Ending {
        self.training().map_or(Ending::Finished, |trained| trained.totals.ending)
    }

    /// The training whose adapter the run left.
    pub fn training(&self) -> Option<&Trained> {
        self.trained.as_ref().or(self.baseline.as_ref())
    }

    pub fn ending_name(&self) -> &'static str {
        self.ending().name()
    }

    /// What a person must know before believing in the result.
    pub fn warnings(&self) -> Vec<String> {
        self.trained.iter().flat_map(|trained| trained.totals.warnings()).collect()
    }

    /// Why a run that came to its end is no success.
    pub fn failure(&self) -> Option<String> {
        self.trained.as_ref().and_then(|trained| trained.totals.failure())
    }

    /// The table of the run: one column per model.
    /// `width`: as [`Table::page`] has it.
    pub fn table(&self, width: Option<usize>) -> Page {
        models::table(&self.columns(), str::to_owned, width)
    }

    /// The same as rows of cells, the first row the names of the models, and what is said below them.
    pub fn rows(&self) -> (Vec<Vec<String>>, Vec<String>) {
        models::rows(&self.columns())
    }

    /// The same as Markdown.
    pub fn markdown(&self) -> Page {
        models::table(&self.columns(), escape_markdown, None)
    }

    fn columns(&self) -> Vec<models::Column<'_>> {
        let after = self.policy.as_deref().unwrap_or("fine-tuned");
        let columns = [
            ("before", self.before.as_ref(), None),
            ("plain fine-tuning", self.baseline_after.as_ref(), self.baseline.as_ref()),
            (after, self.after.as_ref(), self.trained.as_ref()),
        ];
        let there =
            columns.into_iter().filter(|(_, eval, trained)| eval.is_some() || trained.is_some());
        there.collect()
    }
}

/// Models by their names, such as "before" and "after" an adapter. Written as an object.
#[derive(Debug)]
pub struct Comparison {
    pub models: Vec<(String, Evaluation)>,
    /// What a person should know of the prompts that were read.
    pub notices: Notices,
}

impl Comparison {
    /// `width`: as [`Table::page`] has it.
    pub fn table(&self, width: Option<usize>) -> Page {
        let models = self.models.iter();
        let columns = models.map(|(name, eval)| (name.as_str(), Some(eval), None));
        models::table(&columns.collect::<Vec<_>>(), str::to_owned, width)
    }
}

impl Serialize for Comparison {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, evaluation) in &self.models {
            map.serialize_entry(name, evaluation)?;
        }
        if !self.notices.is_empty() {
            map.serialize_entry("notices", &self.notices)?;
        }
        map.end()
    }
}
