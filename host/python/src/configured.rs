//! A policy with its settings, configured for a run: what it needs, fits and decides.

use std::sync::Arc;

use host_contract::{
    Calibration as Fitted, Needs, RunCapabilities, check_capabilities, exceeds, needs_summary,
};
use host_sandbox::Call;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use serde_json::Value;

use crate::assessment::Assessment;
use crate::calibration::Calibration;
use crate::calls::{detached, interruptible};
use crate::errors::{CalibrationError, UnmetNeed};
use crate::examples::{self, Examples};
use crate::guardrails::Guardrails;
use crate::loaded::Loaded;
use crate::records;
use crate::run::RunInfo;
use crate::signals::{self, Signals};

/// What every question to the policy goes with.
#[derive(Clone)]
pub struct Setup {
    pub policy: Loaded,
    /// The same, as Python has it.
    pub object: Arc<Py<PyAny>>,
    pub settings: Value,
    /// The same, as the policy gets it.
    pub text: String,
    pub run: host_contract::RunInfo,
    /// What `configure` asked for.
    pub configured: Needs,
    /// The same, or what calibration left of it.
    pub needs: Needs,
    pub parameters: Vec<u8>,
}

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
#[derive(Clone)]
pub struct Configured(pub Arc<Setup>);

impl Configured {
    pub fn new(setup: Setup) -> Self {
        Self(Arc::new(setup))
    }
}

#[pymethods]
impl Configured {
    #[getter]
    fn policy(&self, py: Python<'_>) -> Py<PyAny> {
        self.0.object.clone_ref(py)
    }

    #[getter]
    fn run(&self) -> RunInfo {
        RunInfo(self.0.run.clone())
    }

    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.0.settings)
    }

    #[getter]
    fn needs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.0.needs)
    }

    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.parameters)
    }

    fn needs_summary(&self) -> Vec<String> {
        needs_summary(&self.0.needs)
    }

    #[pyo3(signature = (
        *, canary = false, task = true, alignment = false, base = false, additive = true,
        anchors = (false, false), judges = Vec::new()
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords of Python")]
    fn check_capabilities(
        &self,
        canary: bool,
        task: bool,
        alignment: bool,
        base: bool,
        additive: bool,
        anchors: (bool, bool),
        judges: Vec<String>,
    ) -> PyResult<()> {
        let anchors = [anchors.0, anchors.1];
        let judges = &judges;
        let run = RunCapabilities { canary, task, alignment, base, additive, anchors, judges };
        check_capabilities(&self.0.needs, &run).map_err(|unmet| {
            UnmetNeed::new_err(format!(
                "policy {} needs {}, which this run can't give: {}",
                self.0.policy.policy, unmet.need, unmet.remedy
            ))
        })
    }

    #[pyo3(signature = (
        harmful, split, *, activations = None, judges = None, row_activations = None,
        row_judges = None
    ))]
    fn examples(
        &self,
        harmful: &Bound<'_, PyAny>,
        split: &Bound<'_, PyAny>,
        activations: Option<&Bound<'_, PyAny>>,
        judges: Option<&Bound<'_, PyAny>>,
        row_activations: Option<&Bound<'_, PyAny>>,
        row_judges: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Examples> {
        let given =
            examples::Given { harmful, split, activations, judges, row_activations, row_judges };
        examples::measured(&self.0.configured, &self.0.run, &given).map(Examples::new)
    }

    fn calibrate(&self, py: Python<'_>, examples: &Examples) -> PyResult<Calibration> {
        let setup = &*self.0;
        let policy = &setup.policy.policy;
        let engine = setup.policy.runner()?;
        let call = || policy.calibrate(&setup.text, &setup.run, &examples.0);
        let Fitted { parameters, needs, candidates, summary } = interruptible(py, engine, call)?;
        Ok(Calibration::new(host_audit::calibration::CalibrationFile {
            policy: policy.name().to_owned(),
            policy_sha256: policy.digest().to_owned(),
            settings: setup.settings.clone(),
            model: String::new(),
            model_digest: String::new(),
            examples: examples.0.examples.len(),
            summary,
            needs,
            candidates,
            parameters: hex::encode(parameters),
            recomputed: None,
            notices: None,
        }))
    }

    fn calibrated(&self, calibration: &Calibration) -> PyResult<Self> {
        let setup = &*self.0;
        let (parameters, needs) = calibration.fitting(&setup.policy.policy, &setup.settings)?;
        if let Some(beyond) = exceeds(&needs, &setup.configured) {
            let problem = format!("the calibration: {beyond}; calibrate again");
            return Err(CalibrationError::new_err(problem));
        }
        Ok(Self::new(Setup { needs, parameters, ..setup.clone() }))
    }

    /// The fields are those of the contract, as its table of signals has them.
    #[pyo3(signature = (**fields))]
    fn signals(&self, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Signals> {
        signals::measured(&self.0.needs, &self.0.run, &records::keywords(fields)).map(Signals::new)
    }

    #[pyo3(signature = (signals, state = None, parameters = None))]
    fn assess(
        &self,
        py: Python<'_>,
        signals: &Signals,
        state: Option<PyBackedBytes>,
        parameters: Option<PyBackedBytes>,
    ) -> PyResult<Assessment> {
        let setup = &*self.0;
        setup.policy.runner()?;
        let call = Call {
            settings: &setup.text,
            run: &setup.run,
            parameters: parameters.as_deref().unwrap_or(&setup.parameters),
            state: state.as_deref().unwrap_or_default(),
            signals: &signals.0,
            needs: &setup.needs,
        };
        detached(py, || setup.policy.policy.assess(call)).map(Assessment::from)
    }

    fn check_rules(&self, rules: &Guardrails) -> PyResult<()> {
        let policy = &self.0.policy.policy;
        rules.rules.forbids(&self.0.needs).map_or(Ok(()), |(rule, actuator)| {
            Err(UnmetNeed::new_err(format!(
                "`{rule}` forbids policy {policy}, which may use {actuator}; leave the policy or the \
                 rule out"
            )))
        })
    }

    fn require(
        &self,
        py: Python<'_>,
        rules: &Guardrails,
        assessment: &Assessment,
        signals: &Signals,
    ) -> PyResult<()> {
        let policy = &self.0.policy.policy;
        detached(py, || policy.require(&rules.rules, &assessment.assessment, &signals.0))
    }

    fn __repr__(&self) -> String {
        format!("Configured({}, {})", self.0.policy.policy, self.0.text)
    }
}
