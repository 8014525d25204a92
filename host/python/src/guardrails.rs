//! Rules that every assessment must keep.

use pyo3::prelude::*;

use crate::errors::SettingsError;

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
pub struct Guardrails {
    pub rules: host_contract::Guardrails,
    #[pyo3(get, name = "rules")]
    pub texts: Vec<String>,
}

#[pymethods]
impl Guardrails {
    #[new]
    fn new(rules: Vec<String>) -> PyResult<Self> {
        match host_contract::Guardrails::parse(&rules) {
            Ok(parsed) => Ok(Self { rules: parsed, texts: rules }),
            Err((i, problem)) => {
                let rule = host_files::text::brief(&rules[i], 80);
                Err(SettingsError::new_err(format!("rules[{i}]: `{rule}`: it {problem}")))
            }
        }
    }
}
