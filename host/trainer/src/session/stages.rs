//! stages.json: what a run has behind it, so that one that goes on repeats nothing.

use host_eval::report::Report;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::records::run_dir::{Lines, RunDir};

const FILE: &str = "stages.json";

/// The stages that are over, by their results.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stages {
    pub report: Report,
    /// Of generations.jsonl; what lies behind belongs to a stage that was cut off.
    pub generations_bytes: u64,
}

impl Stages {
    pub fn new(report: Report) -> Self {
        Self { report, generations_bytes: 0 }
    }

    /// Those of a run that goes on, if any was over.
    ///
    /// # Errors
    /// A file that isn't ours.
    pub fn of(folder: &RunDir) -> Result<Option<Self>> {
        let path = folder.file(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::file(
                    &path,
                    format!("is damaged ({error}); remove it to repeat the stages that are over"),
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::read(&path, source)),
        }
    }

    /// Writes that one more stage is over; `answers` is generations.jsonl.
    pub fn keep(&mut self, answers: &mut Option<Lines>, folder: &RunDir) -> Result<()> {
        if let Some(answers) = answers {
            answers.sync()?;
            self.generations_bytes = answers.bytes()?;
        }
        folder.write_json(FILE, self)
    }
}
