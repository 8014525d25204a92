//! A policy file: loaded, described, inspected, audited, tested.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_audit::checks::{Field, Options, audit};
use host_audit::inspect;
use host_audit::synthetic::{Subject, run_info};
use host_sandbox::{PolicyKey, Revocations, Trust, check_signature};
use pyo3::prelude::*;
use serde_json::{Value, json};

use crate::calibration::Calibration;
use crate::calls::{detached, interruptible};
use crate::configured::{Configured, Setup};
use crate::engine::Engine;
use crate::errors::{PolicyFileError, SettingsError, raised};
use crate::loaded::Loaded;
use crate::run::RunInfo;
use crate::{cases, records};

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
pub struct Policy(Loaded);

impl Deref for Policy {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        &self.0
    }
}

#[pymethods]
impl Policy {
    #[staticmethod]
    #[pyo3(signature = (path, *, engine = None, sha256 = None, signed_by = None, revoked = None))]
    fn load(
        py: Python<'_>,
        path: PathBuf,
        engine: Option<&Engine>,
        sha256: Option<&str>,
        signed_by: Option<PathBuf>,
        revoked: Option<PathBuf>,
    ) -> PyResult<Self> {
        let engine = match engine {
            Some(engine) => engine.clone(),
            None => Engine::usual(py)?,
        };
        let (signed_by, revoked) = (key(signed_by)?, revocations(revoked)?);
        let inner = engine.here()?;
        let (policy, file) = detached(py, || {
            let file = engine.pin(&path)?;
            let trust = Trust { sha256, signed_by: signed_by.as_ref(), revoked: revoked.as_ref() };
            Ok((host_sandbox::Policy::load_trusted(inner, &file, &trust)?, file))
        })?;
        Ok(Self(Loaded { policy: Arc::new(policy), engine, file }))
    }

    #[getter]
    fn name(&self) -> &str {
        self.policy.name()
    }

    #[getter]
    fn version(&self) -> &str {
        &self.policy.descriptor().version
    }

    #[getter]
    fn summary(&self) -> &str {
        &self.policy.descriptor().summary
    }

    #[getter]
    fn contract(&self) -> &'static str {
        self.policy.version().number()
    }

    #[getter]
    fn path(&self) -> &str {
        self.policy.path()
    }

    #[getter]
    fn digest(&self) -> &str {
        self.policy.digest()
    }

    #[getter]
    fn engine(&self) -> Engine {
        self.engine.clone()
    }

    #[getter]
    fn settings_schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let schema = serde_json::from_str::<Value>(&self.policy.descriptor().settings_schema);
        let schema = schema.map_err(|error| {
            PolicyFileError::new_err(format!("{}: its settings schema: {error}", self.policy))
        })?;
        records::to_python(py, &schema)
    }

    fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.engine.here()?;
        let (described, _) = detached(py, || self.policy.describe_at_cost())?;
        records::to_python(py, &described)
    }

    #[pyo3(signature = (settings = None, *, layers = 30, hidden = 576, seed = 17, signed_by = None))]
    fn inspect<'py>(
        &self,
        py: Python<'py>,
        settings: Option<&Bound<'py, PyAny>>,
        layers: u32,
        hidden: u32,
        seed: u64,
        signed_by: Option<PathBuf>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (settings, signed_by) = (text(settings)?, key(signed_by)?);
        let engine = self.engine.here()?;
        let about = interruptible(py, engine, || {
            let run = run_info(layers, hidden, seed);
            let needs = Subject::configure(&self.policy, &settings, &run, seed)?.configured;
            inspect::inspect(&self.policy, &self.file, signed_by.as_ref(), Some(&needs))
        })?;
        records::to_python(py, &about)
    }

    #[pyo3(signature = (key, *, revoked = None))]
    fn verify<'py>(
        &self,
        py: Python<'py>,
        key: PathBuf,
        revoked: Option<PathBuf>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (key, revoked) = (policy_key(&key)?, revocations(revoked)?);
        let engine = self.engine.here()?;
        let said = detached(py, || {
            let trust = Trust {
                sha256: Some(self.policy.digest()),
                signed_by: Some(&key),
                revoked: revoked.as_ref(),
            };
            // Also that it is still the file that was loaded, and what it calls itself.
            host_sandbox::Policy::load_trusted(engine, &self.file, &trust)?;
            check_signature(engine, &self.file, &host_sandbox::read(engine, &self.file)?, &key)
        })?;
        let named = said.policy();
        let said = json!({
            "name": named.map(|said| &said.name),
            "version": named.map(|said| &said.version),
            "sha256": said.sha256(),
            "expires": named.and_then(|said| said.expires.as_ref()),
            "key_id": key.id(),
        });
        records::to_python(py, &said)
    }

    fn configure(
        slf: &Bound<'_, Self>,
        py: Python<'_>,
        settings: Option<&Bound<'_, PyAny>>,
        run: &RunInfo,
    ) -> PyResult<Configured> {
        let loaded = &slf.get().0;
        let settings = records::settings(settings).map_err(SettingsError::new_err)?;
        let text = settings.to_string();
        loaded.runner()?;
        let needs = detached(py, || loaded.policy.configure(&text, &run.0))?;
        Ok(Configured::new(Setup {
            policy: loaded.clone(),
            object: Arc::new(slf.clone().into_any().unbind()),
            settings,
            text,
            run: run.0.clone(),
            configured: needs.clone(),
            needs,
            parameters: Vec::new(),
        }))
    }

    #[pyo3(signature = (
        settings = None, *, calibration = None, layers = 30, hidden = 576, seed = 17,
        signed_by = None, repeats = 1000, depends_on = Vec::new()
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords of Python")]
    fn audit<'py>(
        &self,
        py: Python<'py>,
        settings: Option<&Bound<'py, PyAny>>,
        calibration: Option<&Calibration>,
        layers: u32,
        hidden: u32,
        seed: u64,
        signed_by: Option<PathBuf>,
        repeats: usize,
        depends_on: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let given = records::settings(settings).map_err(SettingsError::new_err)?;
        let calibrated = match calibration {
            Some(one) => Some(one.fitting(&self.policy, &given)?),
            None => None,
        };
        if repeats < 2 {
            return Err(SettingsError::new_err("repeats must be at least 2"));
        }
        let depends_on = depends_on.iter().map(|name| field(name)).collect::<PyResult<Vec<_>>>()?;
        let (settings, signed_by) = (given.to_string(), key(signed_by)?);
        let found = interruptible(py, self.engine.here()?, || {
            let options = Options {
                settings: &settings,
                run: run_info(layers, hidden, seed),
                seed,
                calibrated,
                signed_by: signed_by.as_ref(),
                repeats,
                depends_on: &depends_on,
                runs: Vec::new(),
            };
            audit(&self.policy, &self.file, &options, &mut |_| {})
        })?;
        records::to_python(py, &found)
    }

    fn test<'py>(&self, py: Python<'py>, cases: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.engine.here()?;
        let paths = cases::paths(cases)?;
        let rows = detached(py, || Ok(cases::run(&self.policy, &paths)))?;
        records::to_python(py, &rows?)
    }

    fn __repr__(&self) -> String {
        format!("Policy({})", self.policy)
    }
}

fn text(settings: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let settings = records::settings(settings).map_err(SettingsError::new_err)?;
    Ok(settings.to_string())
}

fn field(name: &str) -> PyResult<Field> {
    let found = Field::ALL.iter().find(|(known, _)| *known == name);
    found.map(|(_, field)| *field).ok_or_else(|| {
        let names: Vec<&str> = Field::ALL.iter().map(|(known, _)| *known).collect();
        SettingsError::new_err(format!("depends_on: {name} is none of {}", names.join(", ")))
    })
}

/// A file or the key itself, which is no path but looks like one to Python.
fn policy_key(file_or_key: &Path) -> PyResult<PolicyKey> {
    PolicyKey::read(&file_or_key.to_string_lossy()).map_err(raised)
}

/// The key of a policy that was named, if one was.
fn key(file_or_key: Option<PathBuf>) -> PyResult<Option<PolicyKey>> {
    file_or_key.as_deref().map(policy_key).transpose()
}

fn revocations(list: Option<PathBuf>) -> PyResult<Option<Revocations>> {
    list.map(|list| Revocations::read(&list).map_err(raised)).transpose()
}
