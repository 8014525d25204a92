//! Policies in OCI registries, named `oci://REGISTRY/REPOSITORY:TAG` or `…@sha256:DIGEST`.
//!
//! A policy is an artifact as the CNCF's layout for WebAssembly has it: a manifest whose one layer is the component. Its
//! signatures are artifacts that refer to that manifest (OCI 1.1 referrers).
//!
//! A registry isn't trusted: every byte is checked against the digest that names it, sizes are limited before and while
//! they are read, and credentials go to the registry and to the token service that it names, over https.

#![warn(missing_docs)]

mod cache;
mod challenge;
mod credentials;
mod error;
mod manifest;
mod pull;
mod push;
mod reference;
mod referrers;
mod registry;
mod session;
mod token;

pub use credentials::places;
pub use error::{Error, Result};
pub use push::{Artifact, Pushed};
pub use reference::{Digest, Reference};
pub use registry::{Pinned, Pulled, Registry};
