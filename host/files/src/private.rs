//! Folders and files that other users must not write or read.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::OnceLock;

/// Makes a folder, and those above it, with access for its owner alone, if it isn't there.
///
/// # Errors
/// If it can't be made.
pub fn create(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes a folder as [`create`] does, and checks that nobody but its owner can change what is in it,
/// and that this is the user of the process: its content is trusted. A process that runs as root in
/// another user's home must not take that user's files for its own.
///
/// # Errors
/// If it can't be made or read; if it is another user's, if others may write to it, or if they may
/// put another one in its place. Only these last are of the kind [`io::ErrorKind::Other`].
pub fn folder(path: &Path) -> io::Result<()> {
    create(path)?;
    let path = fs::canonicalize(path)?;
    let folder = fs::metadata(&path)?;
    own(&folder)?;
    if folder.mode() & 0o022 != 0 {
        return Err(io::Error::other("others may write to it; chmod go-w it"));
    }
    for above in path.ancestors().skip(1) {
        let found = fs::metadata(above)?;
        let is_replaceable = found.mode() & 0o002 != 0 && found.mode() & STICKY == 0;
        if is_replaceable || ![0, user()?].contains(&found.uid()) {
            let problem = format!("others may replace it, for {} is theirs", above.display());
            return Err(io::Error::other(problem + "; choose a folder in your own home"));
        }
    }
    Ok(())
}

/// Files in a folder with this bit are removed and renamed by their owners alone.
const STICKY: u32 = 0o1000;

/// Refuses a file that others may have written: another user's, or one that anyone but its owner
/// may read, write or run.
///
/// # Errors
/// As [`folder`].
pub fn secret(file: &Path) -> io::Result<()> {
    let found = fs::metadata(file)?;
    own(&found)?;
    if found.mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read it; chmod 600 it"));
    }
    Ok(())
}

/// The user whom this process acts for: to whom a file belongs that it makes.
///
/// # Errors
/// If no temporary file can be made.
pub fn user() -> io::Result<u32> {
    static USER: OnceLock<u32> = OnceLock::new();
    if let Some(user) = USER.get() {
        return Ok(*user);
    }
    let user = tempfile::tempfile()?.metadata()?.uid();
    Ok(*USER.get_or_init(|| user))
}

fn own(found: &fs::Metadata) -> io::Result<()> {
    let user = user()?;
    if found.uid() == user {
        return Ok(());
    }
    let problem = format!("it belongs to user {} and not to you (user {user})", found.uid());
    Err(io::Error::other(
        problem + "; choose another place, such as with XDG_CACHE_HOME and XDG_CONFIG_HOME",
    ))
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
    fn a_folder_that_others_may_put_another_one_in_the_place_of_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let above = here.path().join("above");
        folder(&above.join("a")).unwrap();
        fs::set_permissions(&above, fs::Permissions::from_mode(0o777)).unwrap();
        let error = folder(&above.join("a")).unwrap_err();
        assert!(error.to_string().contains("others may replace it"), "{error}");
        // As /tmp is.
        fs::set_permissions(&above, fs::Permissions::from_mode(0o1777)).unwrap();
        folder(&above.join("a")).unwrap();
        // A link is as good as what it leads to.
        fs::set_permissions(&above, fs::Permissions::from_mode(0o777)).unwrap();
        let link = here.path().join("link");
        std::os::unix::fs::symlink(above.join("a"), &link).unwrap();
        assert!(folder(&link).is_err());
    }

    #[test]
    fn files_and_folders_of_another_user_are_refused() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("cache");
        folder(&path).unwrap();
        let key = path.join("key");
        fs::write(&key, "secret").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        // Only root can give a file away.
        if std::os::unix::fs::chown(&key, Some(12345), None).is_err() {
            return;
        }
        let error = secret(&key).unwrap_err();
        assert!(error.to_string().contains("belongs to user 12345"), "{error}");
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        let error = folder(&path).unwrap_err();
        assert!(error.to_string().contains("belongs to user 12345"), "{error}");
        // One in a folder of theirs isn't safe either.
        let error = folder(&path.join("own")).unwrap_err();
        assert!(error.to_string().contains("others may replace it"), "{error}");
    }

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("key");
        assert_eq!(secret(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "secret").unwrap();
        for (mode, is_safe) in [(0o600, true), (0o700, true), (0o640, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(secret(&path).is_ok(), is_safe, "{mode:o}");
        }
    }
}
