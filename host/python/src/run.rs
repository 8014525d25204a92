//! The run that a policy is configured for.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::SettingsError;
use crate::records;

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
#[derive(Clone)]
pub struct RunInfo(pub host_contract::RunInfo);

#[pymethods]
impl RunInfo {
    /// The fields are those of the contract.
    #[new]
    #[pyo3(signature = (**fields))]
    fn new(py: Python<'_>, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let given = PyDict::new(py);
        given.set_item("seed", 0)?;
        given.set_item("judges", Vec::<String>::new())?;
        if let Some(fields) = fields {
            given.update(fields.as_mapping())?;
        }
        let run = records::read(given.as_any(), "run").map_err(SettingsError::new_err)?;
        let known = records::to_python(py, &run)?;
        for (name, _) in records::keywords(fields) {
            if !known.contains(&name)? {
                return Err(SettingsError::new_err(format!("run.{name}: there is no such field")));
            }
        }
        Ok(Self(run))
    }

    #[getter]
    fn layers(&self) -> u32 {
        self.0.layers
    }

    #[getter]
    fn hidden(&self) -> u32 {
        self.0.hidden
    }

    #[getter]
    fn vocabulary(&self) -> u32 {
        self.0.vocabulary
    }

    #[getter]
    fn samples_per_step(&self) -> u32 {
        self.0.samples_per_step
    }

    #[getter]
    fn total_steps(&self) -> u64 {
        self.0.total_steps
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.0.seed
    }

    #[getter]
    fn judges(&self) -> Vec<String> {
        self.0.judges.clone()
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.0)
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}
