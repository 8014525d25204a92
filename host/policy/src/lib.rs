//! Runs safety policies: sandboxed WebAssembly components that look at what a
//! training run measured and decide how strongly to hold it to the reference.
//!
//! A policy is a pure function (see `wit/v0.1/policy.wit`). It imports nothing,
//! every call gets a fresh instance, and whatever it answers is checked before
//! anyone acts on it:
//!
//! ```no_run
//! # fn main() -> Result<(), host_policy::Error> {
//! # let run: host_policy::wit::RunInfo = unimplemented!();
//! let engine = host_policy::Engine::new(&host_policy::Limits::default())?;
//! let policy = host_policy::Policy::load(&engine, "plugins/probe.wasm")?;
//! let needs = policy.configure("{}", &run)?;
//! # Ok(())
//! # }
//! ```
//!
//! This crate knows no tensors and no training: numbers go in, numbers come out.

mod assessment;
mod canonical;
pub mod cases;
mod component;
mod engine;
mod error;
mod fault;
mod imports;
mod limits;
mod needs;
mod policy;
mod sandbox;
mod text;
pub mod wit;

pub use assessment::{Expected, validate_assessment};
pub use canonical::{assessment_from_json, assessment_to_json};
pub use engine::Engine;
pub use error::{Error, FileProblem, Function, Invalid, Place, Result};
pub use limits::{Limit, Limits};
pub use needs::{exceeds, needs_summary, validate_needs};
pub use policy::{Assessed, Call, Policy};
pub use text::clean;

/// The interface that this host serves.
pub const INTERFACE: &str = "risk:policy@0.1.0";
