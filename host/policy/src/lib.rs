//! Runs safety policies: sandboxed WebAssembly components that look at what a
//! training run measured and decide how strongly to hold it to the reference.
//!
//! A policy is a pure function (see `wit/v0.1/policy.wit`). It imports nothing,
//! every call gets a fresh instance, and whatever it answers is checked before
//! anyone acts on it.
//!
//! 1. [`Engine::new`] starts the engine with its [`Limits`].
//! 2. [`Policy::load`] checks, compiles and identifies a policy file.
//! 3. [`Policy::configure`] says what has to be measured ([`wit::Needs`]), and
//!    [`Policy::calibrate`] fits the policy if it needs that.
//! 4. [`Policy::assess`] answers one optimizer step with an [`Assessed`].
//!
//! This crate knows no tensors and no training: numbers go in, numbers come out.

mod assessment;
pub mod audit;
mod cache;
mod canonical;
pub mod cases;
mod component;
mod descriptor;
mod engine;
mod error;
mod fault;
mod imports;
pub mod inspect;
pub mod journal;
mod limits;
mod needs;
mod policy;
mod sandbox;
mod signature;
mod size;
mod strictest;
pub mod synthetic;
mod text;
pub mod wit;
pub mod worker;

pub use assessment::{Expected, validate_assessment};
pub use cache::Cache;
pub use canonical::{assessment_from_json, assessment_to_json};
pub use engine::Engine;
pub use error::{Error, FileProblem, Function, Invalid, Place, Result};
pub use limits::{Limit, Limits};
pub use needs::{exceeds, needs_summary, validate_needs};
pub use policy::{Assessed, Call, Policy, Trust, check_signature};
pub use sandbox::Cost;
pub use signature::{PublicKey, Signer, public_path, signature_path};
pub use strictest::{strict, strictest};
pub use text::clean;
pub use worker::{Job, Worker};

/// The interface that this host serves.
pub const INTERFACE: &str = "risk:policy@0.1.0";
