//! Installs what was made where nothing of this repository is, and runs the first command.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use tar::Archive;

use super::said;
use super::tarball::files;

/// Unpacks it and runs its program.
pub fn tarball(path: &Path, name: &str) -> Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let started = Instant::now();
    Archive::new(GzDecoder::new(File::open(path)?)).unpack(folder.path())?;
    first_command(&folder.path().join(name).join("bin"), folder.path())?;
    ensure!(
        folder.path().join(name).join("share/man/man1/host-train.1").is_file(),
        "no manual pages"
    );
    println!(
        "tarball: unpacked, first training done after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Installs it into an environment of its own, without an index, and runs its program.
pub fn wheel(path: &Path, python: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let environment = folder.path().join("environment");
    said(Command::new(python).args(["-m", "venv"]).arg(&environment))?;
    let started = Instant::now();
    let bin = environment.join("bin");
    let mut pip = Command::new(bin.join("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check"]);
    said(pip.arg(path))?;
    let installed = started.elapsed().as_secs_f64();
    first_command(&bin, folder.path())?;
    ensure!(environment.join("share/man/man1/host-train.1").is_file(), "no manual pages");
    let inside = files(&environment.join("lib"))?;
    let bill = |file: &PathBuf| {
        file.components().any(|part| part.as_os_str() == "sboms")
            && file.extension().is_some_and(|end| end == "json")
    };
    ensure!(inside.iter().any(bill), "no bill of materials");
    println!(
        "wheel: installed after {installed:.1} s, first training done after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// A short training under a policy that is inside the program, with nothing else in PATH and a home
/// of its own.
fn first_command(bin: &Path, folder: &Path) -> Result<()> {
    let mut host = Command::new(bin.join("host"));
    host.env_clear().env("PATH", bin).env("HOME", folder).current_dir(folder);
    host.args(["train", "--policy", "builtin:probe", "--steps", "5", "--eval-limit", "10"]);
    let table = said(host.args(["--no-baseline", "--output", "run"]))?;
    ensure!(table.contains("harmful requests refused"), "the first command printed: {table}");
    Ok(())
}
