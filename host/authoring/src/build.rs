//! From a project to its component.

use std::path::{Path, PathBuf};

use host_files::{atomic, sha256};
use serde::Serialize;

use crate::{Error, Language, Manifest, Name, Result, c, component, js, python, rust};

/// What [`build`] has made.
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    pub name: Name,
    pub language: Language,
    pub component: PathBuf,
    pub bytes: u64,
    /// Hexadecimal, as `policy.sha256` pins it.
    pub sha256: String,
}

/// Builds the project at `folder` into `folder/NAME.wasm`.
///
/// This runs the project's own build: build scripts of Rust crates, installation
/// scripts of npm packages, the top level of Python and JavaScript modules.
///
/// # Errors
/// If there is no project, a tool is missing (the message says how to install it),
/// the sources don't compile (the compiler says why on stderr), or the result is no
/// policy. A component that was there stays.
pub fn build(folder: &Path) -> Result<Built> {
    let Manifest { name, language, wit } = Manifest::read(folder)?;
    let root = folder.canonicalize().map_err(Error::io(folder))?;
    let component = match language {
        Language::Rust => rust::build(&root, wit)?,
        Language::C => c::build(&root, wit)?,
        Language::Python => python::build(&root)?,
        Language::Js => js::build(&root)?,
    };
    component::check(&component, wit)?;
    let path = folder.join(format!("{name}.wasm"));
    atomic::write(&path, &component)?;
    Ok(Built {
        name,
        language,
        component: path,
        bytes: component.len() as u64,
        sha256: sha256::hex(&component),
    })
}
