//! Manual pages, completions and documents, in the layout below a prefix such as /usr/local.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::said;

/// Shells, and where each looks for the completions of `host`.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/host"),
    ("zsh", "share/zsh/site-functions/_host"),
    ("fish", "share/fish/vendor_completions.d/host.fish"),
];
/// Documents of the repository.
const DOCUMENTS: [&str; 5] =
    ["README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "examples/config.toml"];

/// Asks the program for all that it can say of itself.
pub fn fill(host: &Path, root: &Path, prefix: &Path) -> Result<()> {
    let pages = prefix.join("share/man/man1");
    said(Command::new(host).args(["man", "--output"]).arg(&pages))?;
    for (shell, place) in SHELLS {
        let script = said(Command::new(host).args(["completions", shell]))?;
        write(&prefix.join(place), script.as_bytes())?;
    }
    for document in DOCUMENTS {
        let from = root.join(document);
        let bytes = fs::read(&from).with_context(|| from.display().to_string())?;
        let name = from.file_name().unwrap_or_default();
        write(&prefix.join("share/doc/host").join(name), &bytes)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())
}
