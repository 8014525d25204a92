//! Finding a compiler for `wasm32-unknown-unknown`.
//!
//! In this order: the compiler in use has the target installed; a compiler that
//! comes with the sources of the standard library builds it along; otherwise the
//! error says what to install.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, Language, Result, tools};

pub const TARGET: &str = "wasm32-unknown-unknown";

const ADVICE: &str = "install the target with `rustup target add wasm32-unknown-unknown`, or, on Debian, a compiler with the sources of the standard library (1.96 or later) with `apt-get install rustc-web cargo-web rust-web-src`";

/// A compiler and how it gets at the standard library for the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Toolchain {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    pub sysroot: PathBuf,
    /// Set if the standard library has to be built from its sources.
    pub build_std: Option<BuildStd>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BuildStd {
    pub linker: PathBuf,
}

impl Toolchain {
    /// # Errors
    /// Both install commands, if there is no such compiler.
    pub fn find() -> Result<Self> {
        let mut sysroots = Vec::from_iter(current_sysroot()?);
        sysroots.push(PathBuf::from("/usr"));
        Self::among(&sysroots).ok_or(Error::Missing {
            language: Language::Rust,
            tool: "a compiler for wasm32-unknown-unknown",
            install: ADVICE,
        })
    }

    fn among(sysroots: &[PathBuf]) -> Option<Self> {
        let installed = sysroots.iter().find(|s| library(s, TARGET).join("lib").is_dir());
        if let Some(sysroot) = installed {
            return Self::of(sysroot, None);
        }
        let with_sources = sysroots
            .iter()
            .find(|s| library(s, "src").join("rust/library/std/Cargo.toml").is_file())?;
        let linker =
            sysroots.iter().find_map(|s| lld(s)).or_else(|| tools::versions("wasm-ld").next())?;
        Self::of(with_sources, Some(BuildStd { linker }))
    }

    fn of(sysroot: &Path, build_std: Option<BuildStd>) -> Option<Self> {
        let program = |name: &str| Some(sysroot.join("bin").join(name)).filter(|p| p.is_file());
        Some(Self {
            cargo: program("cargo")?,
            rustc: program("rustc")?,
            sysroot: sysroot.to_path_buf(),
            build_std,
        })
    }

    /// In the words of the terminal.
    pub fn describe(&self) -> String {
        let how = match self.build_std {
            None => "target installed",
            Some(_) => "building the standard library from its sources",
        };
        format!("{} ({how})", self.rustc.display())
    }
}

fn library(sysroot: &Path, name: &str) -> PathBuf {
    sysroot.join("lib/rustlib").join(name)
}

/// rust-lld of a toolchain, whichever host it is for.
fn lld(sysroot: &Path) -> Option<PathBuf> {
    let hosts = sysroot.join("lib/rustlib").read_dir().ok()?;
    let mut found: Vec<PathBuf> = hosts
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/rust-lld")))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.into_iter().next()
}

/// The toolchain in use. With rustup `rustc` is a proxy, its sysroot is not.
fn current_sysroot() -> Result<Option<PathBuf>> {
    let rustc = env::var_os("RUSTC").map(PathBuf::from);
    let Some(rustc) = rustc.or_else(|| tools::find("rustc")) else {
        return Ok(None);
    };
    let mut command = Command::new(rustc);
    command.args(["--print", "sysroot"]);
    let sysroot = tools::output(&mut command, "asking for the sysroot")?;
    Ok(Some(PathBuf::from(sysroot.trim())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn sysroot(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files.iter().chain(&["bin/cargo", "bin/rustc"]) {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn among(sysroots: &[&tempfile::TempDir]) -> Option<Toolchain> {
        let paths: Vec<_> = sysroots.iter().map(|s| s.path().to_path_buf()).collect();
        Toolchain::among(&paths)
    }

    const STD: &str = "lib/rustlib/src/rust/library/std/Cargo.toml";
    const LLD: &str = "lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld";
    const INSTALLED: &str = "lib/rustlib/wasm32-unknown-unknown/lib/libstd.rlib";

    #[test]
    fn an_installed_target_comes_before_sources() {
        let (sources, installed) = (sysroot(&[STD, LLD]), sysroot(&[INSTALLED]));
        let found = among(&[&sources, &installed]).unwrap();
        assert_eq!(found.sysroot, installed.path());
        assert_eq!(found.build_std, None);
    }

    #[test]
    fn sources_of_one_toolchain_use_the_linker_of_another() {
        let (plain, sources) = (sysroot(&[LLD]), sysroot(&[STD]));
        let found = among(&[&plain, &sources]).unwrap();
        assert_eq!(found.rustc, sources.path().join("bin/rustc"));
        assert_eq!(found.build_std.unwrap().linker, plain.path().join(LLD));
    }

    #[test]
    fn without_either_there_is_none() {
        assert_eq!(among(&[&sysroot(&[LLD])]), None);
        assert!(ADVICE.contains("rustup target add") && ADVICE.contains("apt-get install"));
    }
}
