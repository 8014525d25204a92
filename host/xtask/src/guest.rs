//! Building policies.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use host_authoring::toolchain::Toolchain;
use host_authoring::{Version, component, rust};
use host_files::atomic;

/// The policies to build: those named, or all.
///
/// # Errors
/// If a name is not that of a policy.
pub fn select(folder: &Path, names: &[String]) -> Result<Vec<String>> {
    let all = policies(folder)?;
    for name in names {
        if !all.contains(name) {
            bail!("there is no policy `{name}`: the policies are {}", all.join(", "));
        }
    }
    Ok(if names.is_empty() { all } else { names.to_vec() })
}

/// The crates that become components, by name.
pub fn policies(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = folder.read_dir().with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let manifest = path.join("Cargo.toml");
        if manifest.is_file() && is_cdylib(&manifest)? {
            names.extend(path.file_name().and_then(|n| n.to_str()).map(str::to_string));
        }
    }
    names.sort();
    Ok(names)
}

fn is_cdylib(manifest: &Path) -> Result<bool> {
    let text = fs::read_to_string(manifest)?;
    let table: toml::Table =
        text.parse().with_context(|| format!("{} is not TOML", manifest.display()))?;
    let kinds = table.get("lib").and_then(|lib| lib.get("crate-type")?.as_array());
    Ok(kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind.as_str() == Some("cdylib"))))
}

/// Builds the policies and puts NAME.wasm into `into`.
pub fn build(folder: &Path, names: &[String], into: &Path) -> Result<()> {
    let toolchain = Toolchain::find()?;
    eprintln!("building {} with {}", names.join(", "), toolchain.describe());
    let mut arguments = vec!["--locked"];
    for name in names {
        arguments.extend(["--package", name]);
    }
    let modules = rust::compile(folder, &toolchain, &arguments)?;
    for name in names {
        let module = modules.of(&folder.join(name))?;
        let bytes = fs::read(module).with_context(|| module.display().to_string())?;
        let component = component::componentize(&bytes, Version::NEWEST)
            .and_then(|component| {
                component::check_no_paths(&component, &modules.machine)?;
                Ok(component)
            })
            .with_context(|| format!("policy `{name}`"))?;
        let path = into.join(format!("{name}.wasm"));
        atomic::write(&path, &component)?;
        eprintln!("{:>9} bytes  {name}.wasm", component.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("sdk", "[package]\nname = \"sdk\""),
            ("one", "[lib]\ncrate-type = [\"cdylib\"]"),
            ("another", "[lib]\ncrate-type = [\"cdylib\"]"),
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("Cargo.toml"), text).unwrap();
        }
        folder
    }

    #[test]
    fn policies_are_the_crates_that_become_libraries_to_load() {
        let folder = folder();
        assert_eq!(select(folder.path(), &[]).unwrap(), ["another", "one"]);
        assert_eq!(select(folder.path(), &["one".into()]).unwrap(), ["one"]);
        let error = select(folder.path(), &["sdk".into()]).unwrap_err().to_string();
        assert_eq!(error, "there is no policy `sdk`: the policies are another, one");
    }
}
