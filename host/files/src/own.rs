//! Files that were left lying about and are to be relied on or written again: opened without
//! following links, and only if nobody else can have put them there.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use crate::{capped, private};

/// Entries of a folder that are looked at; one with more is refused.
const ENTRIES: usize = 100_000;
/// Folders within folders that are looked at.
const DEPTH: usize = 16;

/// Reads a regular file of at most `limit` bytes, as [`open_to_read`] opens it.
///
/// # Errors
/// A file that can't be opened, that is not regular, or that is larger.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    capped::content(open_to_read(path)?, limit)?
        .ok_or_else(|| io::Error::other(format!("is larger than the {limit} bytes it may have")))
}

/// Opens a regular file, whoever it belongs to. A pipe or a device is refused instead of waited
/// for.
///
/// # Errors
/// A file that can't be opened, or that is not regular.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("is not a regular file"))
    }
}

/// The same as [`read`], for a text.
///
/// # Errors
/// As [`read`], and bytes that are no UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(io::Error::other)
}

/// Makes a file for its owner alone; nothing may be there, not even a link.
///
/// # Errors
/// If there is something, or the file can't be made.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(path)
}

/// Makes a folder for its owner alone; nothing may be there.
///
/// # Errors
/// If there is something, or the folder can't be made.
pub fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Opens a file that is to be cut or written on.
///
/// # Errors
/// A file that can't be opened or that [`check`] refuses.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other(LINK),
        _ => error,
    })?;
    match strange(&file.metadata()?, private::user()?) {
        Some(problem) => Err(io::Error::other(problem)),
        None => Ok(file),
    }
}

/// Something in a folder that its owner can't have left there, or that others can change.
#[derive(Debug)]
pub struct Strange {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

/// Looks at everything in a folder, following no link: all must be files and folders of whom
/// this process acts for, which nobody else may write to.
///
/// # Errors
/// The first thing that is not.
pub fn check(folder: &Path) -> Result<(), Strange> {
    // The folder itself may be named by a link of the user's own.
    walk(folder, &mut |path, found, me| match strange(found, me) {
        Some(problem) => Err(Strange { path: path.to_owned(), problem: problem.to_owned() }),
        None => Ok(()),
    })
}

/// Takes all access from others: to a folder and everything in it.
///
/// # Errors
/// The first thing that can't be changed.
pub fn close_to_others(folder: &Path) -> Result<(), Strange> {
    walk(folder, &mut |path, found, _| {
        let mode = found.mode() & 0o777;
        if found.is_symlink() || mode & 0o077 == 0 {
            return Ok(());
        }
        let closed = fs::set_permissions(path, Permissions::from_mode(mode & 0o700));
        closed.map_err(|error| Strange { path: path.to_owned(), problem: error.to_string() })
    })
}

type Visit<'a> = dyn FnMut(&Path, &Metadata, u32) -> Result<(), Strange> + 'a;

fn walk(folder: &Path, visit: &mut Visit<'_>) -> Result<(), Strange> {
    let failed = |path: &Path, error: io::Error| Strange {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    let me = private::user().map_err(|error| failed(folder, error))?;
    visit(folder, &fs::metadata(folder).map_err(|error| failed(folder, error))?, me)?;
    let mut left = vec![(folder.to_owned(), 0)];
    let mut seen = 0;
    while let Some((folder, depth)) = left.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
            let path = entry.map_err(|error| failed(&folder, error))?.path();
            let found = match fs::symlink_metadata(&path) {
                Ok(found) => found,
                // A temporary file that got its name meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path, error)),
            };
            visit(&path, &found, me)?;
            seen += 1;
            if seen > ENTRIES || depth > DEPTH {
                let problem = "holds more than a run does; move what isn't the run's elsewhere";
                return Err(Strange { path: folder, problem: problem.into() });
            }
            if found.is_dir() {
                left.push((path, depth + 1));
            }
        }
    }
    Ok(())
}

const LINK: &str =
    "is a link to somewhere else, and nothing is written through it; put the file itself there";

fn strange(found: &Metadata, me: u32) -> Option<&'static str> {
    let kind = found.file_type();
    if kind.is_symlink() {
        Some(LINK)
    } else if !kind.is_file() && !kind.is_dir() {
        Some("is neither a file nor a folder; remove it")
    } else if found.uid() != me {
        Some("belongs to another user; copy the folder (cp -r), and use the copy")
    } else if found.mode() & 0o022 != 0 {
        Some("can be changed by other users; take that from them (chmod -R go-w) if it is yours")
    } else if kind.is_file() && found.nlink() > 1 {
        Some(
            "is the same file as another one (a hard link); copy the folder (cp -r), and use the copy",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_read_is_a_file_and_no_larger_than_it_may_be() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("x");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).unwrap_err().to_string().contains("larger than the 4 bytes"));
        assert!(read(here.path(), 4).is_err());
        assert!(read(Path::new("/dev/zero"), 4).unwrap_err().to_string().contains("regular"));
        fs::write(&path, [0xff]).unwrap();
        assert!(read_text(&path, 5).is_err());
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let here = tempfile::tempdir().unwrap();
        let (victim, link) = (here.path().join("victim"), here.path().join("link"));
        fs::write(&victim, "12345").unwrap();
        open(&victim).unwrap();
        symlink(&victim, &link).unwrap();
        assert!(open(&link).unwrap_err().to_string().contains("is a link"));
        assert!(create(&link).is_err());
        symlink(here.path().join("absent"), here.path().join("dangling")).unwrap();
        assert!(create(&here.path().join("dangling")).is_err());
        assert!(check(here.path()).unwrap_err().problem.contains("is a link"));
        fs::remove_file(&link).unwrap();
        fs::hard_link(&victim, &link).unwrap();
        assert!(open(&link).unwrap_err().to_string().contains("hard link"));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "12345");
    }

    #[test]
    fn a_folder_that_others_can_change_is_refused_and_can_be_closed() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("a");
        create_folder(&folder).unwrap();
        drop(create(&folder.join("x")).unwrap());
        check(here.path()).unwrap();
        for (path, mode) in [(folder.join("x"), 0o620), (folder.clone(), 0o702)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = check(here.path()).unwrap_err();
            assert!(found.path == path && found.problem.contains("chmod -R go-w"), "{found:?}");
            close_to_others(here.path()).unwrap();
            check(here.path()).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o077, 0);
        }
    }
}
