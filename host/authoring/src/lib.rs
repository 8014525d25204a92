//! From a template to a policy component.
//!
//! [`create`] writes a project folder in one of four languages, [`build`] makes the
//! component out of it. What `build` needs to know stands in the project's
//! [`Manifest`]; what it makes on the way lies in the project's `.build`.
//!
//! This crate compiles, it never runs a policy: see `host-sandbox` for that.

mod build;
mod c;
pub mod component;
mod error;
mod generated;
mod js;
mod language;
mod manifest;
mod name;
mod project;
mod python;
pub mod rust;
mod template;
pub mod toolchain;
mod tools;
mod wit;

pub use build::{Built, build};
pub use error::{Error, Result};
pub use host_contract::Version;
pub use language::Language;
pub use manifest::Manifest;
pub use name::Name;
pub use project::{Created, create};
pub use wit::{WitPackage, wit_package};
