//! A package of WIT as component tools send it around: encoded as a component.

use std::path::Path;

use wit_parser::Resolve;

use crate::error::{Error, Result};

/// A package, encoded.
#[derive(Debug, Clone)]
pub struct WitPackage {
    /// Such as `risk:policy`.
    pub name: String,
    /// Such as `0.2.0`.
    pub version: Option<String>,
    /// Names of its interfaces and worlds, such as `risk:policy/types@0.2.0`.
    pub interfaces: Vec<String>,
    /// The component that holds it.
    pub bytes: Vec<u8>,
}

/// Reads and encodes the package of a folder or of one file.
///
/// # Errors
/// WIT that can't be read or isn't valid.
pub fn wit_package(path: &Path) -> Result<WitPackage> {
    let odd = |error: String| Error::Product { path: path.to_owned(), problem: error };
    let mut resolve = Resolve::default();
    let (id, _) = resolve.push_path(path).map_err(|error| odd(format!("{error:#}")))?;
    let bytes = wit_component::encode(&resolve, id).map_err(|error| odd(format!("{error:#}")))?;
    let package = &resolve.packages[id];
    let name = &package.name;
    let full = |item: &str| name.interface_id(item);
    let items = package.interfaces.keys().chain(package.worlds.keys());
    Ok(WitPackage {
        name: format!("{}:{}", name.namespace, name.name),
        version: name.version.as_ref().map(ToString::to_string),
        interfaces: items.map(|item| full(item)).collect(),
        bytes,
    })
}
