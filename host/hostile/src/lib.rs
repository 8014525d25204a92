//! Policies that misbehave, damaged bytes, and what a host makes of them.
//!
//! A [`HostilePolicy`] is a file of `tests/fixtures/hostile`: what a policy does, what is to
//! stop it, and the few lines of WebAssembly that make it do so, put into the marks of
//! `tests/fixtures/policy.wat`. A [`Trial`] trains under it with the real program and
//! looks at what comes out and what is left. [`mutation`] damages bytes, seeded.
//!
//! An [`Endpoint`] is a judge's server that fails in the ways in which servers do.
//!
//! A [`Registry`] is an OCI registry that keeps what it is sent, and lies where a test has it lie.
//!
//! A [`Cosign`] signs as cosign does, in both of its formats.
//!
//! For the tests and chores of this repository alone.

mod cosign;
mod endpoint;
mod error;
mod hostile_policy;
mod image;
mod leftovers;
pub mod mutation;
mod registry;
mod server;
pub mod template;
mod trial;

pub use cosign::Cosign;
pub use endpoint::{Endpoint, Reply, Request};
pub use error::{Error, Result};
pub use hostile_policy::{HostilePolicy, Stopped, native};
pub use image::Image;
pub use leftovers::{Answered, Journalled, Leftovers};
pub use registry::{Answer, Asked, Registry, Then};
pub use trial::{LIMITS, Mode, Outcome, Trial};
