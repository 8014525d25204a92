//! The program for others, built from the last commit in a folder of its own. No name of a folder
//! and no time of day gets into it, so the same commit gives the same bytes wherever it is built by the same
//! compilers of Rust and C.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use host_files::sha256;
use tempfile::TempDir;

use super::{date, said};

/// Sources of a commit, and what was built of them.
pub struct Release {
    folder: TempDir,
    /// Of the commit, in seconds since 1970.
    date: u64,
}

impl Release {
    /// Takes the sources of the last commit and builds the program.
    ///
    /// # Errors
    /// Without git, without the crates of the lock file, or if something doesn't compile.
    pub fn build(root: &Path) -> Result<Self> {
        let changed = said(Command::new("git").current_dir(root).args(["status", "--porcelain"]))?;
        if !changed.is_empty() {
            eprintln!("note: what is changed and not committed is not in the program");
        }
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let release = Self { folder, date: date(root) };
        let mut archive = Command::new("git")
            .current_dir(root)
            .args(["archive", "--format=tar", "HEAD"])
            .stdout(Stdio::piped())
            .spawn()
            .context("git can't be started")?;
        let out = archive.stdout.take().context("git has no output")?;
        tar::Archive::new(out).unpack(release.sources())?;
        ensure!(archive.wait()?.success(), "git archive failed");
        let mut cargo = Command::new("cargo");
        cargo.current_dir(release.sources()).args(["build", "--release", "--locked"]);
        release.surround(cargo.args(["--quiet", "--bin", "host"]))?;
        ensure!(cargo.status()?.success(), "the program doesn't compile");
        Ok(release)
    }

    pub fn sources(&self) -> PathBuf {
        self.folder.path().join("sources")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    pub fn program(&self) -> PathBuf {
        self.target().join("release").join(format!("host{}", std::env::consts::EXE_SUFFIX))
    }

    /// What cargo finds around it, whoever starts it: folders have one name everywhere.
    pub fn surround(&self, command: &mut Command) -> Result<()> {
        let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(PathBuf::from(home).join(".cargo"))
        });
        let cargo = cargo.context("neither CARGO_HOME nor HOME is set")?;
        let named = [(cargo, "/cargo"), (self.target(), "/target"), (self.sources(), "/sources")];
        let flags = |flag: &str, separator: &str| {
            let flags = named.iter().map(|(from, to)| format!("{flag}={}={to}", from.display()));
            flags.collect::<Vec<_>>().join(separator)
        };
        let in_c = flags("-ffile-prefix-map", " ");
        command
            .env("CARGO_TARGET_DIR", self.target())
            .env("CARGO_ENCODED_RUSTFLAGS", flags("--remap-path-prefix", "\x1f"))
            .env("CFLAGS", &in_c)
            .env("CXXFLAGS", &in_c)
            // What __DATE__ and __TIME__ are in C.
            .env("SOURCE_DATE_EPOCH", self.date.to_string());
        Ok(())
    }

    /// That another build gives the same program.
    ///
    /// # Errors
    /// If it doesn't.
    pub fn is_same_again(&self, root: &Path) -> Result<()> {
        let other = Self::build(root)?;
        let (one, other) = (sha256::file(&self.program())?, sha256::file(&other.program())?);
        ensure!(one == other, "a second build gave another program: {one}, then {other}");
        println!("built twice: both {one}");
        Ok(())
    }
}
