//! What an audit finds in a journal.

use serde::Serialize;

/// Something that doesn't fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The record it is about, from 0.
    pub record: Option<u64>,
    pub problem: String,
}

impl Finding {
    pub(super) fn at(record: u64, problem: impl Into<String>) -> Self {
        Self { record: Some(record), problem: problem.into() }
    }

    pub(super) fn whole(problem: impl Into<String>) -> Self {
        Self { record: None, problem: problem.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.record {
            Some(record) => write!(f, "record {record}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}
