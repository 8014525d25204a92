//! A policy that was loaded, with what it was loaded by and from.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::engine::Engine;

/// Cheap to clone.
#[derive(Clone)]
pub struct Loaded {
    pub policy: Arc<host_sandbox::Policy>,
    pub engine: Engine,
    pub file: PathBuf,
}

impl Loaded {
    /// The engine that runs it.
    ///
    /// # Errors
    /// As for [`Engine::here`].
    pub fn runner(&self) -> PyResult<&host_sandbox::Engine> {
        self.engine.here()
    }
}
