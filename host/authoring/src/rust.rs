//! Building policies in Rust for wasm32-unknown-unknown.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::toolchain::{TARGET, Toolchain};
use crate::{Error, Result, Version, component, tools};

pub(crate) fn build(folder: &Path, wit: Version) -> Result<Vec<u8>> {
    let toolchain = Toolchain::find()?;
    let modules = compile(folder, &toolchain, &[])?;
    let module = modules.of(folder)?;
    component::componentize(&fs::read(module).map_err(Error::io(module))?, wit)
}

/// The modules of a build.
#[derive(Debug)]
pub struct Modules {
    /// By the manifest of their crate.
    by_manifest: HashMap<PathBuf, PathBuf>,
    /// Folders of this machine that must not get into a build.
    pub machine: Vec<String>,
}

impl Modules {
    /// The module of the crate at `folder`.
    ///
    /// # Errors
    /// If that crate made none.
    pub fn of(&self, folder: &Path) -> Result<&Path> {
        let manifest = folder.join("Cargo.toml");
        let module = self.by_manifest.get(&manifest).map(PathBuf::as_path);
        module.ok_or_else(|| Error::Product {
            path: manifest,
            problem: "makes no module: a policy is a library with crate-type = [\"cdylib\"]".into(),
        })
    }
}

/// Compiles the crate or workspace at the absolute path `folder` in release mode.
/// `arguments` go to `cargo build`. What the compiler says goes to stderr.
///
/// # Errors
/// If it doesn't compile, or cargo can't be run.
pub fn compile(folder: &Path, toolchain: &Toolchain, arguments: &[&str]) -> Result<Modules> {
    let flags = Flags::new(folder, toolchain)?;
    let mut command = command(folder, toolchain, &flags);
    command.args(arguments);
    let messages = tools::output(&mut command, "compiling")?;
    Ok(Modules {
        by_manifest: messages.lines().filter_map(module).collect(),
        machine: flags.machine,
    })
}

/// The part of cargo's messages that is of interest here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Manifest and module, if this line of cargo's output tells of a module.
fn module(line: &str) -> Option<(PathBuf, PathBuf)> {
    let message: Message = serde_json::from_str(line).ok()?;
    let is_wasm = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "wasm");
    let file = message.filenames.into_iter().find(is_wasm)?;
    (message.reason == "compiler-artifact").then_some((message.manifest_path, file))
}

fn command(folder: &Path, toolchain: &Toolchain, flags: &Flags) -> Command {
    let mut command = Command::new(&toolchain.cargo);
    command
        .current_dir(folder)
        .args(["build", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics");
    // What an outer cargo and the user's shell set is meant for the host.
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
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &build_std.linker);
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
        for path in [library.canonicalize().ok(), Some(library)].into_iter().flatten() {
            renamed.push((path, "std".to_string()));
        }
        for registry in registries()? {
            renamed.push((registry, "crates".to_string()));
        }
        renamed.push((folder.to_path_buf(), "plugins".to_string()));
        let machine: Vec<String> =
            renamed.iter().map(|(path, _)| path.display().to_string()).collect();
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
    let Some(sources) = home.map(|home| home.join("registry/src")).filter(|s| s.is_dir()) else {
        return Ok(Vec::new());
    };
    let mut folders: Vec<PathBuf> = sources
        .read_dir()
        .map_err(Error::io(&sources))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_artifacts_with_a_module_count() {
        let wasm = r#"{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","filenames":["/t/policy.wasm"]}"#;
        assert_eq!(module(wasm), Some(("/p/Cargo.toml".into(), "/t/policy.wasm".into())));
        let library = wasm.replace("policy.wasm", "libserde.rlib");
        for other in [library.as_str(), r#"{"reason":"build-finished","success":true}"#, ""] {
            assert_eq!(module(other), None);
        }
    }
}
