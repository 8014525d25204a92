//! The wheel, by maturin: it builds nothing anew where the program is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tarball::files;

/// Beside the manifest that maturin is given; named in its pyproject.toml.
const DATA: &str = "host/cli/wheel";

/// Builds it into `output`; the folder `share` goes below the prefix of whoever installs it.
pub fn build(root: &Path, python: &Path, share: &Path, output: &Path) -> Result<PathBuf> {
    let data = root.join(DATA);
    let _ = fs::remove_dir_all(&data);
    for file in files(share)? {
        let to = data.join("data").join(&file);
        fs::create_dir_all(to.parent().context("a file without a folder")?)?;
        fs::copy(share.join(&file), to)?;
    }
    let made = tempfile::tempdir().context("no temporary folder can be made")?;
    let mut maturin = Command::new(python);
    maturin.args(["-m", "maturin", "build", "--release", "--locked", "--quiet", "--manifest-path"]);
    maturin.arg(root.join("host/cli/Cargo.toml")).arg("--out").arg(made.path());
    // Build scripts in C run again where it changes, and with them all that depends on them; the
    // files of a wheel have a date of maturin's own.
    maturin.env_remove("SOURCE_DATE_EPOCH");
    let status = maturin.status().with_context(|| format!("{} can't be started", python.display()));
    let _ = fs::remove_dir_all(&data);
    ensure!(
        status?.success(),
        "maturin failed; install it for that Python (pip install maturin), or use --no-wheel"
    );
    let wheel = fs::read_dir(made.path())?.next().context("maturin made no wheel")??;
    let to = output.join(wheel.file_name());
    fs::copy(wheel.path(), &to)?;
    Ok(to)
}
