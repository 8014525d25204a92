//! The wheel, by maturin: it builds nothing anew where the program is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::release::Release;
use super::tarball::files;

/// Beside the manifest that maturin is given; named in its pyproject.toml.
const DATA: &str = "host/cli/wheel";

/// What a wheel is made of.
pub struct Wheel<'a> {
    /// The sources that the program was built of.
    pub sources: &'a Path,
    /// Goes below the prefix of whoever installs it.
    pub share: &'a Path,
    /// Goes to the bills of materials of the package (PEP 770).
    pub bill: &'a Path,
}

impl Wheel<'_> {
    /// Builds it into `output`, by the maturin of that Python, and under the circumstances of a
    /// release if the program is of one.
    ///
    /// # Errors
    /// Without maturin.
    pub fn build(
        &self,
        python: &Path,
        release: Option<&Release>,
        output: &Path,
    ) -> Result<PathBuf> {
        let data = self.sources.join(DATA);
        let _ = fs::remove_dir_all(&data);
        for file in files(self.share)? {
            let to = data.join("data").join(&file);
            fs::create_dir_all(to.parent().context("a file without a folder")?)?;
            fs::copy(self.share.join(&file), to)?;
        }
        let made = tempfile::tempdir().context("no temporary folder can be made")?;
        let mut maturin = Command::new(python);
        maturin.args(["-m", "maturin", "build", "--release", "--locked", "--quiet"]);
        maturin.arg("--manifest-path").arg(self.sources.join("host/cli/Cargo.toml"));
        maturin.arg("--sbom-include").arg(self.bill.canonicalize()?);
        maturin.arg("--out").arg(made.path());
        // Build scripts in C run again where it changes, and with them all that depends on them; the
        // files of a wheel have a date of maturin's own.
        maturin.env_remove("SOURCE_DATE_EPOCH");
        release.map_or(Ok(()), |release| release.surround(&mut maturin))?;
        let status = maturin.status();
        let _ = fs::remove_dir_all(&data);
        ensure!(
            status.with_context(|| format!("{} can't be started", python.display()))?.success(),
            "maturin failed; install it for that Python (pip install maturin), or use --no-wheel"
        );
        let wheel = fs::read_dir(made.path())?.next().context("maturin made no wheel")??;
        let to = output.join(wheel.file_name());
        fs::copy(wheel.path(), &to)?;
        Ok(to)
    }
}
