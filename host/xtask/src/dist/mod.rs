//! What is handed to users: `cargo xtask dist` makes a tarball and a wheel of the built program,
//! with manual pages, completions and examples, and `--check` installs both where nothing else is.

mod check;
mod release;
mod sbom;
mod share;
mod tarball;
mod wheel;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use host_files::{atomic, sha256};

use release::Release;
use wheel::Wheel;

use crate::binary;

#[derive(Args)]
pub struct Dist {
    /// Folder of the archives and of SHA256SUMS.
    #[arg(short, long, value_name = "DIR", default_value = "target/dist")]
    output: PathBuf,
    /// Make no wheel: that takes maturin (`pip install maturin`).
    #[arg(long)]
    no_wheel: bool,
    /// Python whose maturin builds the wheel.
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: PathBuf,
    /// Build the program anew from the last commit, so that the same commit gives the same bytes
    /// everywhere; without it the program is taken that was built beside this one.
    #[arg(long)]
    rebuild: bool,
    /// Build it a second time in another folder, and compare.
    #[arg(long, requires = "rebuild")]
    twice: bool,
    /// Install what was made in empty environments, and run the first command there.
    #[arg(long)]
    check: bool,
}

impl Dist {
    /// # Errors
    /// If the program is not built, a tool is missing, or what was made doesn't run.
    pub fn run(&self, root: &Path) -> Result<()> {
        let release = self.rebuild.then(|| Release::build(root)).transpose()?;
        if let Some(release) = release.as_ref().filter(|_| self.twice) {
            release.is_same_again(root)?;
        }
        let (host, sources) = match &release {
            Some(release) => (release.program(), release.sources()),
            None => (binary::host()?, root.to_owned()),
        };
        std::fs::create_dir_all(&self.output)?;
        let share = tempfile::tempdir().context("no temporary folder can be made")?;
        share::fill(&host, &sources, share.path())?;
        let target = said(Command::new("rustc").arg("-vV"))?;
        let target = target.lines().find_map(|line| line.strip_prefix("host: "));
        let target = target.context("rustc doesn't say for which target it builds")?;
        let name = format!("host-{}-{target}", env!("CARGO_PKG_VERSION"));
        let date = date(root);
        let bill = self.output.join(format!("{name}.cdx.json"));
        sbom::write(&sources, target, date, &bill)?;
        std::fs::copy(&bill, share.path().join("share/doc/host/host.cdx.json"))?;
        let tarball = self.output.join(format!("{name}.tar.gz"));
        tarball::write(&tarball, &name, &host, share.path(), date)?;
        let mut made = vec![tarball, bill];
        if !self.no_wheel {
            let wheel = Wheel { sources: &sources, share: share.path(), bill: &made[1] };
            made.push(wheel.build(&self.python, release.as_ref(), &self.output)?);
        }
        let mut sums = String::new();
        for file in &made {
            let bytes = file.metadata()?.len();
            println!("{}: {:.1} MB", file.display(), bytes as f64 / 1e6);
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            sums += &format!("{}  {name}\n", sha256::file(file)?);
        }
        atomic::write(&self.output.join("SHA256SUMS"), sums.as_bytes())?;
        if self.check {
            check::tarball(&made[0], &name)?;
            if let Some(wheel) = made.get(2) {
                check::wheel(wheel, &self.python)?;
            }
        }
        Ok(())
    }
}

/// Seconds since 1970 that all files have: those of the last commit, so that the same sources
/// give the same archives. SOURCE_DATE_EPOCH wins.
fn date(root: &Path) -> u64 {
    let named = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let commit = || {
        let mut git = Command::new("git");
        git.current_dir(root).args(["log", "-1", "--format=%ct"]);
        said(&mut git).ok()?.trim().parse().ok()
    };
    // The first day that a zip file can say.
    named.or_else(commit).unwrap_or(315_532_800)
}

/// What a command prints.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} can't be started"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}
