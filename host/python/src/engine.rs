//! The engine of a process, and the worker that compiles for it.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use host_installed::POLICIES;
use host_registry::Registry;
use host_sandbox::{Cache, Limits, Worker};
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::errors::{EngineError, raised};
use crate::{logging, records};

/// Loads this library into an interpreter that has nothing else, and has it work. Behind it come the
/// path of the library, and what the worker is told.
const WORKER: &str = "\
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
path = sys.argv[1]
spec = spec_from_file_location('_native', path, loader=ExtensionFileLoader('_native', path))
native = module_from_spec(spec)
spec.loader.exec_module(native)
sys.exit(native._work(sys.argv[2:]))
";

/// See `_native.pyi`.
#[pyclass(frozen, module = "risk_policy")]
#[derive(Clone)]
pub struct Engine {
    engine: host_sandbox::Engine,
    worker: Worker,
    cache: Option<Cache>,
    isolate: bool,
    registry: Arc<Registry>,
    /// The process that it was made in: the thread that ends late calls doesn't come along in a fork.
    process: u32,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (limits = None, *, cache = None, isolate = false, offline = false))]
    fn new(
        py: Python<'_>,
        limits: Option<&Bound<'_, PyAny>>,
        cache: Option<&Bound<'_, PyAny>>,
        isolate: bool,
        offline: bool,
    ) -> PyResult<Self> {
        let limits = match limits.filter(|limits| !limits.is_none()) {
            Some(given) => records::read(given, "limits").map_err(EngineError::new_err)?,
            None => Limits::default(),
        };
        let cache = match cache {
            None => host_installed::cache(),
            Some(given) => cache_of(given)?,
        };
        logging::start();
        let registry = Arc::new(Registry::new(host_installed::registry().as_deref(), offline));
        Self::start(&limits, worker(py)?, cache, isolate, registry)
    }

    #[getter]
    fn limits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, self.engine.limits())
    }

    fn confinement<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::to_python(py, &self.engine.confinement())
    }
}

impl Engine {
    fn start(
        limits: &Limits,
        worker: Worker,
        cache: Option<Cache>,
        isolate: bool,
        registry: Arc<Registry>,
    ) -> PyResult<Self> {
        let engine = host_sandbox::Engine::guarded(limits, worker.clone(), cache.clone());
        let engine = engine.map_err(raised)?.with_builtin(POLICIES).isolated(isolate);
        let engine = engine.with_registry(Arc::clone(&registry) as _);
        Ok(Self { engine, worker, cache, isolate, registry, process: process::id() })
    }

    /// The one that is used where none is named: one per process, with the host's own limits.
    pub fn usual(py: Python<'_>) -> PyResult<Self> {
        static USUAL: Mutex<Option<Engine>> = Mutex::new(None);
        let usual = || USUAL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = usual().as_ref().filter(|one| one.process == process::id()) {
            return Ok(engine.clone());
        }
        let engine = Self::new(py, None, None, false, false)?;
        Ok(usual().insert(engine).clone())
    }

    /// The engine itself.
    ///
    /// # Errors
    /// In a process that was forked since it was made.
    pub fn here(&self) -> PyResult<&host_sandbox::Engine> {
        if self.process == process::id() {
            return Ok(&self.engine);
        }
        Err(EngineError::new_err(
            "this engine was made in another process, before a fork, and nothing here would end a \
             policy that takes too long; make Engine and Policy anew after forking",
        ))
    }

    /// A policy as it was named: one of a registry by its digest, which is told.
    ///
    /// # Errors
    /// One line on a registry that can't be reached, or that has no such policy.
    pub fn pin(&self, path: &Path) -> host_sandbox::Result<PathBuf> {
        let most = self.engine.limits().component_bytes;
        let (path, notes) = self.registry.pin_path(path, most)?;
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(path)
    }

    /// An engine like this one under other limits.
    pub fn under(&self, limits: &Limits) -> PyResult<Self> {
        Self::start(
            limits,
            self.worker.clone(),
            self.cache.clone(),
            self.isolate,
            Arc::clone(&self.registry),
        )
    }
}

/// Where compiled policies are kept: True, False or a folder.
fn cache_of(given: &Bound<'_, PyAny>) -> PyResult<Option<Cache>> {
    if let Ok(flag) = given.cast::<PyBool>() {
        return Ok(if flag.is_true() { host_installed::cache() } else { None });
    }
    let folder = given.extract::<PathBuf>()?;
    let cache = Cache::open(&folder.join("policies"), &folder.join("keys/cache.key"));
    cache.map(Some).map_err(|error| {
        let folder = folder.display();
        EngineError::new_err(format!(
            "the cache of policies {folder} can't be used: {error}; name another folder, or False"
        ))
    })
}

fn worker(py: Python<'_>) -> PyResult<Worker> {
    let python = py.import("sys")?.getattr("executable")?;
    let python = python.extract::<PathBuf>().unwrap_or_default();
    if python.as_os_str().is_empty() {
        return Err(EngineError::new_err(
            "the path of this Python is not known (sys.executable is empty), so policies can't be \
             compiled in a process of their own; set sys.executable to a Python of this version",
        ));
    }
    let library = py.import("risk_policy._native")?.getattr("__file__")?.extract::<String>()?;
    Ok(Worker::new(python, &["-I", "-S", "-c", WORKER, &library]))
}

/// Names of the policies that come with the package, as `builtin:NAME`.
#[pyfunction]
pub fn builtins() -> Vec<String> {
    POLICIES.iter().map(host_sandbox::Builtin::path).collect()
}
