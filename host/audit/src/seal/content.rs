//! Files of a run and their digests.

use std::io::{self, Read as _};
use std::path::Path;

use host_files::own;
use host_files::sha256::Running;
use serde::{Deserialize, Serialize};

/// What has signatures of its own, wherever it is in a run.
const SIGNED: [&str; 2] = ["checkpoints", "journal"];

/// The first bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    pub bytes: u64,
    pub sha256: String,
}

impl Content {
    /// Of a whole file, or of its first bytes.
    pub fn of(path: &Path, bytes: Option<u64>) -> io::Result<Self> {
        let file = own::open_to_read(path)?;
        let mut digest = Running::default();
        let bytes = digest.read(&mut file.take(bytes.unwrap_or(u64::MAX)))?;
        Ok(Self { bytes, sha256: digest.hex() })
    }

    /// Whether a file begins so.
    pub fn begins(&self, path: &Path) -> bool {
        Self::of(path, Some(self.bytes)).is_ok_and(|found| found == *self)
    }

    /// Whether that is all of a file.
    pub fn is(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == self.bytes)
            && self.begins(path)
    }
}

/// Paths of all files in a run that have no signature of their own; `seal` is the file that has
/// theirs. Those that begin with a dot are temporary.
///
/// # Errors
/// Folders that can't be read.
pub fn names(folder: &Path, seal: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut left = vec![String::new()];
    while let Some(inside) = left.pop() {
        for entry in folder.join(&inside).read_dir()? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type()?.is_dir();
            let path = format!("{inside}{name}");
            if name.starts_with('.') || path == seal || (is_folder && SIGNED.contains(&&*name)) {
                continue;
            }
            if is_folder {
                left.push(format!("{path}/"));
            } else {
                names.push(path);
            }
        }
    }
    names.sort();
    Ok(names)
}
