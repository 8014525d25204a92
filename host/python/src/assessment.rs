//! What a policy decided about one step.

use std::mem::take;

use host_contract::{assessment_from_json, assessment_to_json};
use host_sandbox::Assessed;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::SignalError;
use crate::{arrays, records};

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
#[derive(Clone)]
pub struct Assessment {
    pub assessment: host_contract::Assessment,
    #[pyo3(get)]
    pub fuel: u64,
    #[pyo3(get)]
    pub memory_bytes: u64,
    #[pyo3(get)]
    pub seconds: f64,
}

impl From<Assessed> for Assessment {
    fn from(assessed: Assessed) -> Self {
        let Assessed { assessment, fuel, memory_bytes, time } = assessed;
        Self { assessment, fuel, memory_bytes, seconds: time.as_secs_f64() }
    }
}

impl From<host_contract::Assessment> for Assessment {
    /// One that no policy was asked for.
    fn from(assessment: host_contract::Assessment) -> Self {
        Self { assessment, fuel: 0, memory_bytes: 0, seconds: 0.0 }
    }
}

#[pymethods]
impl Assessment {
    #[getter]
    fn risk<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        arrays::float64(py, &self.assessment.risk)
    }

    /// Long lists don't pass through serde, which would make an object of each number.
    #[getter]
    fn regularization<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut rest = self.assessment.regularization.clone();
        let double = [
            ("task_weight", Some(take(&mut rest.task_weight))),
            ("kl_weight", Some(take(&mut rest.kl_weight))),
            ("layer_scale", rest.layer_scale.take()),
        ];
        let single = [
            ("token_task_weight", rest.token_task_weight.take()),
            ("token_kl_weight", rest.token_kl_weight.take()),
        ];
        let fields = records::to_python(py, &rest)?;
        for (name, list) in double {
            if let Some(list) = list {
                fields.set_item(name, arrays::float64(py, &list)?)?;
            }
        }
        for (name, list) in single {
            if let Some(list) = list {
                fields.set_item(name, arrays::float32(py, &list)?)?;
            }
        }
        Ok(fields)
    }

    #[getter]
    fn action<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.assessment.regularization.action)
    }

    #[getter]
    fn reasons<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.assessment.reasons)
    }

    #[getter]
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let metrics = PyDict::new(py);
        for metric in &self.assessment.metrics {
            metrics.set_item(&metric.name, metric.value)?;
        }
        Ok(metrics)
    }

    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.assessment.state)
    }

    /// The state as bytes and not as a list of numbers.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stateless = host_contract::Assessment { state: Vec::new(), ..self.assessment.clone() };
        let fields = records::to_python(py, &stateless)?;
        fields.set_item("state", self.state(py))?;
        Ok(fields)
    }

    fn to_json(&self) -> PyResult<String> {
        let text = assessment_to_json(&self.assessment);
        text.map_err(|error| SignalError::new_err(format!("the assessment: {error}")))
    }

    #[staticmethod]
    fn from_json(line: &str) -> PyResult<Self> {
        let read = assessment_from_json(line);
        read.map(Self::from)
            .map_err(|error| SignalError::new_err(format!("this is no assessment: {error}")))
    }

    #[staticmethod]
    #[pyo3(signature = (samples, message, *, state = None))]
    fn fail_closed(samples: usize, message: &str, state: Option<PyBackedBytes>) -> PyResult<Self> {
        // One byte of risk and two numbers for each; nobody has more.
        if samples > 1 << 24 {
            return Err(SignalError::new_err(format!("{samples} samples are too many for a step")));
        }
        let state = state.as_deref().unwrap_or_default();
        Ok(host_audit::journal::stand_in(samples, message, state).into())
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.assessment == other.assessment
    }

    fn __repr__(&self) -> String {
        let highest = self.assessment.risk.iter().copied().fold(0.0, f64::max);
        let action = self.assessment.regularization.action.name();
        let samples = self.assessment.risk.len();
        format!("Assessment({action}, {samples} samples, highest risk {highest:.3})")
    }
}
