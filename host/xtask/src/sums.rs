//! SHA256SUMS, as `sha256sum --check` reads it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use host_files::{atomic, sha256};

use crate::guest;

const FILE: &str = "SHA256SUMS";

/// Writes the digests of all built policies.
pub fn write(folder: &Path) -> Result<()> {
    let path = folder.join(FILE);
    Ok(atomic::write(&path, list(folder)?.as_bytes())?)
}

/// # Errors
/// If the file doesn't fit the built policies.
pub fn verify(folder: &Path) -> Result<()> {
    let path = folder.join(FILE);
    let found = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    ensure!(
        found == list(folder)?,
        "{} does not fit the .wasm files: build them with `cargo xtask plugins`",
        path.display()
    );
    Ok(())
}

fn list(folder: &Path) -> Result<String> {
    let mut text = String::new();
    for name in guest::policies(folder)? {
        let path = folder.join(format!("{name}.wasm"));
        if path.is_file() {
            let digest = sha256::file(&path)?;
            text += &format!("{digest}  {name}.wasm\n");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_changed_file_no_longer_fits() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("empty");
        fs::create_dir(&policy).unwrap();
        fs::write(policy.join("Cargo.toml"), "[lib]\ncrate-type = [\"cdylib\"]").unwrap();
        fs::write(folder.path().join("empty.wasm"), "").unwrap();
        write(folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(
            text,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty.wasm\n"
        );
        verify(folder.path()).unwrap();
        fs::write(folder.path().join("empty.wasm"), "x").unwrap();
        assert!(verify(folder.path()).is_err());
    }
}
