//! What a policy made of labelled examples, and its file.

use std::path::{Path, PathBuf};

use host_audit::calibration::CalibrationFile;
use host_contract::Needs;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::Value;

use crate::errors::CalibrationError;
use crate::records;

/// What messages call one that has no file.
const HERE: &str = "the calibration";

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
pub struct Calibration {
    /// Figures and notices of the host stay as they are.
    file: CalibrationFile<Value, Value>,
    path: PathBuf,
}

impl Calibration {
    pub fn new(file: CalibrationFile) -> Self {
        Self { file, path: HERE.into() }
    }

    /// Parameters and needs for this policy with these settings.
    ///
    /// # Errors
    /// If it was fitted for others.
    pub fn fitting(
        &self,
        policy: &host_sandbox::Policy,
        settings: &Value,
    ) -> PyResult<(Vec<u8>, Needs)> {
        let file = &self.file;
        file.check(&self.path, policy, settings, &file.model_digest).map_err(wrong)?;
        Ok((self.decoded()?, file.needs.clone()))
    }

    fn decoded(&self) -> PyResult<Vec<u8>> {
        self.file.parameters(&self.path).map_err(wrong)
    }
}

#[pymethods]
impl Calibration {
    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.decoded()?))
    }

    #[getter]
    fn needs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.file.needs)
    }

    #[getter]
    fn summary(&self) -> &str {
        &self.file.summary
    }

    #[getter]
    fn candidates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.file.candidates)
    }

    #[getter]
    fn policy(&self) -> &str {
        &self.file.policy
    }

    #[getter]
    fn policy_sha256(&self) -> &str {
        &self.file.policy_sha256
    }

    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.file.settings)
    }

    #[getter]
    fn model(&self) -> &str {
        &self.file.model
    }

    #[getter]
    fn model_digest(&self) -> &str {
        &self.file.model_digest
    }

    #[pyo3(signature = (path, *, model = None, model_digest = None))]
    fn save(
        &self,
        path: PathBuf,
        model: Option<String>,
        model_digest: Option<String>,
    ) -> PyResult<()> {
        let mut file = self.file.clone();
        file.model = model.unwrap_or(file.model);
        file.model_digest = model_digest.unwrap_or(file.model_digest);
        file.write(&path).map_err(wrong)
    }

    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        let file = CalibrationFile::read(&path).map_err(wrong)?;
        Ok(Self { file, path })
    }

    fn __repr__(&self) -> String {
        let path = Path::new(HERE);
        let from = if self.path == path { String::new() } else { format!(" {:?}", self.path) };
        format!("Calibration({}{from}: {})", self.file.policy, self.file.summary)
    }
}

fn wrong(error: impl std::fmt::Display) -> PyErr {
    CalibrationError::new_err(error.to_string())
}
