//! Recorded cases, run again.

use std::path::{Path, PathBuf};

use host_audit::cases::{self, Case, CaseError, Differs, TOLERANCE};
use host_files::text::clean;
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::Value;

use crate::errors::PolicyError;

/// What came of one case.
#[derive(Serialize)]
pub struct Row {
    case: String,
    about: String,
    outcome: &'static str,
    /// Where the answer first differs, such as `.assessment.risk[1]`.
    at: Option<String>,
    expected: Option<Value>,
    answer: Option<Value>,
    /// Words of a fault, where there was no answer.
    fault: Option<String>,
}

/// The files of a folder, or those that were named.
///
/// # Errors
/// A folder that can't be read, and one without cases.
pub fn paths(given: &Bound<'_, PyAny>) -> PyResult<Vec<PathBuf>> {
    if let Ok(several) = given.extract::<Vec<PathBuf>>() {
        return Ok(several);
    }
    let path = given.extract::<PathBuf>()?;
    if path.is_file() {
        return Ok(vec![path]);
    }
    let found = cases::files(&path).map_err(|error| PolicyError::new_err(error.to_string()))?;
    if found.is_empty() {
        let path = path.display();
        return Err(PolicyError::new_err(format!("{path}: there are no cases (*.json) here")));
    }
    Ok(found)
}

/// Runs them, one after the other.
///
/// # Errors
/// A file that is no case.
pub fn run(policy: &host_sandbox::Policy, paths: &[PathBuf]) -> PyResult<Vec<Row>> {
    paths.iter().map(|path| one(policy, path)).collect()
}

fn one(policy: &host_sandbox::Policy, path: &Path) -> PyResult<Row> {
    let wrong = |error: CaseError| PolicyError::new_err(format!("{}: {error}", path.display()));
    let case = Case::read(path).map_err(|error| PolicyError::new_err(error.to_string()))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let row = |outcome| Row {
        case: stem,
        about: clean(&case.about, 200),
        outcome,
        at: None,
        expected: None,
        answer: None,
        fault: None,
    };
    let answer = match case.answer(policy) {
        Ok(answer) => answer,
        Err(CaseError::Policy(fault)) => {
            return Ok(Row { fault: Some(fault.to_string()), ..row("fault") });
        }
        Err(error) => return Err(wrong(error)),
    };
    match case.compare(&answer, TOLERANCE) {
        Ok(()) => Ok(row("passed")),
        Err(CaseError::Differs(Differs { at, .. })) => Ok(Row {
            at: Some(at),
            expected: Some(case.expected.clone()),
            answer: Some(answer),
            ..row("differs")
        }),
        Err(error) => Err(wrong(error)),
    }
}
