//! Reads the journal of a run: is it whole, and do its policies say again what it holds?

use std::path::{Path, PathBuf};

use host_audit::journal::Journal;
use host_sandbox::PublicKey;
use pyo3::prelude::*;
use serde_json::json;

use crate::calibration::Calibration;
use crate::calls::interruptible;
use crate::engine::Engine;
use crate::errors::{JournalError, SettingsError, raised};
use crate::policy::Policy;
use crate::records;

/// See `_native.pyi`.
#[pyfunction]
#[pyo3(signature = (folder, *, key = None, engine = None))]
pub fn replay<'py>(
    py: Python<'py>,
    folder: PathBuf,
    key: Option<PathBuf>,
    engine: Option<&Engine>,
) -> PyResult<Bound<'py, PyAny>> {
    let key = key.map(|key| PublicKey::read(&key.to_string_lossy())).transpose().map_err(raised)?;
    let folder = journal_folder(&folder)?;
    let own = match engine {
        Some(engine) => engine.clone(),
        None => Engine::usual(py)?,
    };
    let journal = Journal::read(&folder, key.as_ref()).map_err(raised)?;
    let engine = own.under(&journal.limits(own.here()?.limits()).map_err(raised)?)?;
    let engine = engine.here()?;
    let replay = interruptible(py, engine, || journal.replay(engine, || {}))?;
    let verified = &journal.verified;
    let passed = verified.findings.is_empty()
        && replay.findings.is_empty()
        && replay.first_difference.is_none()
        && replay.not_recorded == 0
        && replay.assessments > 0;
    let found = json!({
        "journal": folder,
        "passed": passed,
        "verified": verified,
        "mode": journal.run.mode,
        "steps": journal.steps(),
        "replay": replay,
    });
    records::to_python(py, &found)
}

/// See `_native.pyi`.
#[pyfunction]
#[pyo3(signature = (folder, policy, settings = None, *, calibration = None))]
pub fn compare<'py>(
    py: Python<'py>,
    folder: PathBuf,
    policy: &Policy,
    settings: Option<&Bound<'py, PyAny>>,
    calibration: Option<&Calibration>,
) -> PyResult<Bound<'py, PyAny>> {
    let settings = records::settings(settings).map_err(SettingsError::new_err)?;
    let other = &*policy.policy;
    let calibrated = match calibration {
        Some(one) => Some(one.fitting(other, &settings)?),
        None => None,
    };
    let folder = journal_folder(&folder)?;
    let journal = Journal::read(&folder, None).map_err(raised)?;
    let text = settings.to_string();
    let comparison = interruptible(py, policy.runner()?, || {
        let parts = calibrated.as_ref();
        let parts = parts.map(|(parameters, needs)| (parameters.as_slice(), needs));
        journal.compare(other, &text, parts)
    })?;
    records::to_python(py, &comparison)
}

/// The journal in a run's folder, or the folder itself if it is one.
fn journal_folder(run: &Path) -> PyResult<PathBuf> {
    let inside = run.join("journal");
    match (inside.is_dir(), run.join("records.jsonl").is_file()) {
        (true, _) => Ok(inside),
        (false, true) => Ok(run.to_owned()),
        (false, false) => Err(JournalError::new_err(format!(
            "{} has no journal; name the folder of a run that had a policy",
            run.display()
        ))),
    }
}
