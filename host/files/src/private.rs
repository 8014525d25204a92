//! Folders and files that other users must not write or read.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

/// Makes a folder, and those above it, with access for its owner alone, if it isn't there.
///
/// # Errors
/// If it can't be made.
pub fn create(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes a folder as [`create`] does, and checks that only its owner can write to it: its content
/// is trusted.
///
/// # Errors
/// If it can't be made or read, or if others may write to it; only this last is of the kind
/// [`io::ErrorKind::Other`].
pub fn folder(path: &Path) -> io::Result<()> {
    create(path)?;
    match fs::metadata(path)?.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(io::Error::other("others may write to it; chmod go-w it")),
    }
}

/// Whether anyone but its owner may read, write or run a file.
///
/// # Errors
/// If there is no such file.
pub fn is_open_to_others(file: &Path) -> io::Result<bool> {
    Ok(fs::metadata(file)?.mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_is_made_for_its_owner_and_refused_when_others_may_write() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a/b");
        folder(&path).unwrap();
        for made in [&path, &here.path().join("a")] {
            assert_eq!(fs::metadata(made).unwrap().mode() & 0o777, 0o700);
        }
        folder(&path).unwrap();
        for mode in [0o770, 0o702] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = folder(&path).unwrap_err();
            assert!(error.to_string().contains("chmod go-w"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        folder(&path).unwrap();
    }

    #[test]
    fn a_file_is_open_to_others_by_any_bit_of_theirs() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("key");
        assert!(is_open_to_others(&path).is_err());
        fs::write(&path, "secret").unwrap();
        for (mode, open) in [(0o600, false), (0o700, false), (0o640, true), (0o602, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open_to_others(&path).unwrap(), open, "{mode:o}");
        }
    }
}
