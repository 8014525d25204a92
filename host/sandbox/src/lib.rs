//! Runs safety policies: sandboxed WebAssembly components that look at what a
//! training run measured and decide how strongly to hold it to the reference.
//!
//! A policy is a pure function (see `wit/v0.2/policy.wit`). It imports nothing,
//! every call gets a fresh instance, and whatever it answers is checked before
//! anyone acts on it.
//!
//! 1. [`Engine::new`] starts the engine with its [`Limits`].
//! 2. [`Policy::load`] checks, compiles and identifies a policy file.
//! 3. [`Policy::configure`] says what has to be measured (`host_contract::Needs`), and
//!    [`Policy::calibrate`] fits the policy if it needs that.
//! 4. [`Policy::assess`] answers one optimizer step with an [`Assessed`].
//!
//! This crate knows no tensors and no training: numbers go in, numbers come out.

#![warn(missing_docs)]

mod builtin;
mod cache;
mod call_site;
mod compile;
mod component;
mod cosign;
mod descriptor;
mod endorsement;
mod engine;
mod error;
mod fault;
mod imports;
mod isolated;
mod limits;
mod linked;
mod policy;
mod policy_key;
mod question;
mod quota;
mod registry;
mod runner;
mod serve;
mod signature;
mod system;
mod watch;
mod wire;
mod worker;

pub use builtin::Builtin;
pub use cache::Cache;
pub use call_site::{CallSite, Function};
pub use cosign::{Attachment, BUNDLE as COSIGN_BUNDLE, CosignKey, SIGNED as COSIGN_SIGNED};
pub use endorsement::{Endorsement, Revocations};
pub use engine::{Confinement, Engine};
pub use error::{Error, FileProblem, Result};
pub use limits::{BadLimit, Limit, Limits};
pub use linked::Cost;
pub use policy::{
    Assessed, Call, Policy, Trust, check_revoked, check_signature, claimed, digest, read,
};
pub use policy_key::{Endorsed, PolicyKey};
pub use registry::{Claim, Registry, Signatures};
pub use serve::serve;
pub use signature::{
    PublicKey, Signer, Statement, claimed_key, public_path, read_signature, signature_path,
};
pub use worker::{Job, Worker};
