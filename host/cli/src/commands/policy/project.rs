//! Where a policy and its cases lie.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// What names a policy in the folder of its project.
const MANIFEST: &str = "policy.toml";

/// The policy file and the folder that holds `cases`.
#[derive(Debug, PartialEq)]
pub struct Project {
    pub policy: PathBuf,
    pub folder: PathBuf,
}

impl Project {
    /// From a policy file or the folder of a project.
    pub fn find(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            return Self::in_folder(path);
        }
        // `plugins/probe.wasm` and `plugins/probe/`, or both in one folder.
        let beside = path.with_extension("");
        let folder = if beside.join("cases").is_dir() {
            beside
        } else {
            path.parent().map(Path::to_owned).unwrap_or_default()
        };
        Ok(Self { policy: path.to_owned(), folder })
    }

    fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let name = name(folder)?;
        let file = format!("{name}.wasm");
        let inside = folder.join(&file);
        let beside = folder.canonicalize()?.with_file_name(&file);
        let policy = match (inside.is_file(), beside.is_file()) {
            (true, _) => inside,
            (false, true) => beside,
            (false, false) => bail!(
                "{}: there is no {file} here; build it first (host policy build)",
                folder.display()
            ),
        };
        Ok(Self { policy, folder: folder.to_owned() })
    }
}

/// From the manifest, else that of the folder.
fn name(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join(MANIFEST);
    if !path.is_file() {
        let real = folder
            .canonicalize()
            .with_context(|| format!("{}: can't be read", folder.display()))?;
        return Ok(real
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default());
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    let manifest: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| anyhow::anyhow!("{}: {error}", path.display()))?;
    match manifest.get("name").and_then(toml::Value::as_str) {
        Some(name) if !name.contains(['/', '\\']) => Ok(name.to_owned()),
        _ => bail!("{}: name is missing; give the policy's name", path.display()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs;

    #[test]
    fn projects_are_found_by_manifest_and_by_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("mine");
        fs::create_dir_all(folder.join("cases")).unwrap();
        assert!(Project::find(&folder).unwrap_err().to_string().contains("no mine.wasm"));
        fs::write(root.path().join("mine.wasm"), "x").unwrap();
        let of = |path: &Path| Project::find(path).unwrap();
        assert!(of(&folder).policy.ends_with("mine.wasm"));
        assert_eq!(of(&root.path().join("mine.wasm")).folder, folder);
        fs::write(folder.join("policy.toml"), "name = \"other\"\n").unwrap();
        fs::write(folder.join("other.wasm"), "x").unwrap();
        assert_eq!(of(&folder).policy, folder.join("other.wasm"));
        assert_eq!(of(&folder.join("other.wasm")).folder, folder);
        fs::write(folder.join("policy.toml"), "nam = 1").unwrap();
        assert!(Project::find(&folder).unwrap_err().to_string().contains("name is missing"));
        fs::write(folder.join("policy.toml"), "name").unwrap();
        assert!(Project::find(&folder).is_err());
    }
}
