//! `risk_policy._native`: policies of `host`, asked from Python.
//!
//! Numbers go in as numpy arrays and dicts, assessments come out. What is asked, how much it may
//! take and how an answer is checked is the sandbox's business; journals, cases and audits are those
//! of `host-audit`. This crate only translates, and says in one line what can't be translated.
//!
//! Types and documentation for whoever calls it are in `python/risk_policy/_native.pyi`.

mod arrays;
mod assessment;
mod calibration;
mod calls;
mod cases;
mod combine;
mod configured;
mod engine;
mod errors;
mod examples;
mod guardrails;
mod journal;
mod loaded;
mod logging;
mod policy;
mod records;
mod replay;
mod run;
mod signals;

use pyo3::prelude::*;

/// The worker's side of an engine: see [`engine`].
#[pyfunction]
fn _work(arguments: Vec<std::ffi::OsString>) -> u8 {
    // An exit code; the one of a failure is all that Rust tells of its own.
    u8::from(
        host_files::apart::exit(host_sandbox::serve(&arguments)) != std::process::ExitCode::SUCCESS,
    )
}

#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::{
        _work,
        assessment::Assessment,
        calibration::Calibration,
        combine::{Combiner, combine},
        configured::Configured,
        engine::{Engine, builtins},
        examples::Examples,
        guardrails::Guardrails,
        journal::{Journal, create_key},
        policy::Policy,
        replay::{compare, replay},
        run::RunInfo,
        signals::Signals,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        errors::register(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
