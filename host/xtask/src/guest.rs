//! Building policies.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::component;
use crate::toolchain::{TARGET, Toolchain};

/// The policies to build: those named, or all.
///
/// # Errors
/// If a name is not that of a policy.
pub fn select(folder: &Path, names: &[String]) -> Result<Vec<String>> {
    let all = policies(folder)?;
    for name in names {
        if !all.contains(name) {
            bail!(
                "there is no policy `{name}`: the policies are {}",
                all.join(", ")
            );
        }
    }
    Ok(if names.is_empty() {
        all
    } else {
        names.to_vec()
    })
}

/// The crates that become components, by name.
pub fn policies(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = folder
        .read_dir()
        .with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let manifest = path.join("Cargo.toml");
        if manifest.is_file() && is_cdylib(&manifest)? {
            names.extend(
                path.file_name()
                    .and_then(|n| n.to_str())
                    .map(str::to_string),
            );
        }
    }
    names.sort();
    Ok(names)
}

fn is_cdylib(manifest: &Path) -> Result<bool> {
    let text = fs::read_to_string(manifest)?;
    let table: toml::Table = text
        .parse()
        .with_context(|| format!("{} is not TOML", manifest.display()))?;
    let kinds = table
        .get("lib")
        .and_then(|lib| lib.get("crate-type")?.as_array());
    Ok(kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind.as_str() == Some("cdylib"))))
}

/// Builds the policies and puts NAME.wasm into `into`.
pub fn build(folder: &Path, names: &[String], into: &Path) -> Result<()> {
    let toolchain = Toolchain::find()?;
    eprintln!(
        "building {} with {}",
        names.join(", "),
        toolchain.describe()
    );
    let flags = Flags::new(folder, &toolchain)?;
    let status = command(folder, names, &toolchain, &flags)
        .status()
        .with_context(|| format!("`{}` can't be run", toolchain.cargo.display()))?;
    ensure!(status.success(), "the policies don't compile, see above");
    for name in names {
        let module = folder
            .join("target")
            .join(TARGET)
            .join("release")
            .join(format!("{}.wasm", name.replace('-', "_")));
        let bytes = fs::read(&module).with_context(|| module.display().to_string())?;
        let component = component::componentize(&bytes)
            .and_then(|component| {
                component::check_no_paths(&component, &flags.machine)?;
                Ok(component)
            })
            .with_context(|| format!("policy `{name}`"))?;
        write_atomically(&into.join(format!("{name}.wasm")), &component)?;
        eprintln!("{:>9} bytes  {name}.wasm", component.len());
    }
    Ok(())
}

fn command(folder: &Path, names: &[String], toolchain: &Toolchain, flags: &Flags) -> Command {
    let mut command = Command::new(&toolchain.cargo);
    command
        .current_dir(folder)
        .args(["build", "--release", "--locked", "--target", TARGET]);
    for name in names {
        command.args(["--package", name]);
    }
    // What the outer cargo and the user's shell set is meant for the host.
    for variable in [
        "CARGO",
        "RUSTUP_TOOLCHAIN",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_RUSTC_WRAPPER",
    ] {
        command.env_remove(variable);
    }
    command
        .env("RUSTC", &toolchain.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.rustc.join("\u{1f}"))
        .env("CARGO_TARGET_DIR", folder.join("target"));
    if let Some(build_std) = &toolchain.build_std {
        command
            .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="])
            .env("RUSTC_BOOTSTRAP", "1")
            .env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
                &build_std.linker,
            );
    }
    command
}

/// Compiler flags, and the folders of this machine that must not get into a build.
struct Flags {
    rustc: Vec<String>,
    machine: Vec<String>,
}

impl Flags {
    fn new(folder: &Path, toolchain: &Toolchain) -> Result<Self> {
        let mut renamed: Vec<(PathBuf, String)> = Vec::new();
        let library = toolchain.sysroot.join("lib/rustlib/src/rust/library");
        for path in [library.canonicalize().ok(), Some(library)]
            .into_iter()
            .flatten()
        {
            renamed.push((path, "std".to_string()));
        }
        for registry in registries()? {
            renamed.push((registry, "crates".to_string()));
        }
        renamed.push((folder.to_path_buf(), "plugins".to_string()));
        let machine: Vec<String> = renamed
            .iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        let mut rustc = vec!["-Ctarget-feature=+simd128".to_string()];
        for (path, name) in &renamed {
            rustc.push(format!("--remap-path-prefix={}={name}", path.display()));
        }
        Ok(Self { rustc, machine })
    }
}

/// The folders into which cargo unpacks crates.
fn registries() -> Result<Vec<PathBuf>> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let Some(sources) = home
        .map(|home| home.join("registry/src"))
        .filter(|s| s.is_dir())
    else {
        return Ok(Vec::new());
    };
    let mut folders: Vec<PathBuf> = sources
        .read_dir()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    Ok(folders)
}

/// Into a file beside it, then renamed: nobody ever sees half a file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path
        .file_name()
        .context("a file name is missing")?
        .to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.partial"));
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("{} can't be written", path.display()))
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
        let error = select(folder.path(), &["sdk".into()])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "there is no policy `sdk`: the policies are another, one"
        );
    }

    #[test]
    fn writing_leaves_only_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
