//! Files and folders that exist either whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempPath;

use crate::error::{Error, Result};

/// Permissions of an ordinary file, before the process's umask.
const SHARED: u32 = 0o666;
/// Permissions of a file for its owner alone.
const PRIVATE: u32 = 0o600;

/// Writes a file through a temporary one beside it, and waits until it is on the disk.
///
/// # Errors
/// [`Error::Io`] (folder missing, disk full); what was at `path` before is untouched then.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = partial(path, SHARED, &[bytes], true).and_then(|made| replace(made, path));
    written.map_err(|error| Error::io(path, error))
}

/// Replaces a file that processes lock: the new one is locked before it gets its name, so
/// nobody finds it free. Where the file system has no locks it is written all the same.
///
/// # Errors
/// As [`write`].
pub fn write_locked(path: &Path, bytes: &[u8]) -> Result<File> {
    let written = partial(path, SHARED, &[bytes], true).and_then(|made| {
        let file = File::open(&made)?;
        let _ = file.try_lock();
        replace(made, path)?;
        Ok(file)
    });
    written.map_err(|error| Error::io(path, error))
}

/// The same as [`write`] without waiting for the disk: for a file whose loss in a power cut is found out.
///
/// # Errors
/// As [`write`], in the system's words.
pub fn write_unsynced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(partial(path, SHARED, &[bytes], false)?, path)
}

/// Writes an entry of a cache, its parts one behind the other: for its owner alone, and
/// without waiting for the disk, since an entry carries the proof that it is whole.
///
/// # Errors
/// As [`write`], in the system's words.
pub fn write_entry(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    replace(partial(path, PRIVATE, parts, false)?, path)
}

/// Writes a secret: for its owner alone, and never over a file that is there. Of several
/// processes that do so at once, one succeeds, and the others find its file whole.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if there is such a file; others as [`write`].
pub fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let made = partial(path, PRIVATE, &[bytes], false)?;
    made.persist_noclobber(path).map_err(|error| error.error)
}

/// A temporary file beside `path`, which is removed unless it gets a name.
fn partial(path: &Path, mode: u32, parts: &[&[u8]], sync: bool) -> io::Result<TempPath> {
    // Threads may write the same file at once.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let partial = partial_name(path, &format!("{}-{number}", std::process::id()));
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(mode).open(&partial)?;
    let made = TempPath::try_from_path(&partial)?;
    for part in parts {
        file.write_all(part)?;
    }
    if sync {
        file.sync_all()?;
    }
    Ok(made)
}

fn replace(made: TempPath, path: &Path) -> io::Result<()> {
    made.persist(path).map_err(|error| error.error)
}

/// A file that is written piece by piece under a temporary name, which gets its own with [`NewFile::finish`] and
/// vanishes without. It never takes the place of a file that is there.
pub struct NewFile {
    file: File,
    made: TempPath,
    target: PathBuf,
}

impl NewFile {
    /// Begins the file `target` of `bytes` bytes, for which room is set aside where the file system can do that: a
    /// full disk is found out now and not when most of it is written.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is such a file; [`Error::Io`] when it can't be made, or there is no room.
    pub fn begin(target: &Path, bytes: u64) -> Result<Self> {
        if fs::symlink_metadata(target).is_ok() {
            return Err(Error::Exists { path: target.to_owned() });
        }
        if let Some(parent) = target.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        }
        let begun = || {
            let made = partial(target, SHARED, &[], false)?;
            let file = OpenOptions::new().write(true).open(&made)?;
            set_aside(&file, bytes)?;
            Ok(Self { file, made, target: target.to_owned() })
        };
        begun().map_err(|error| Error::io(target, error))
    }

    /// Where the bytes are until the file has its name.
    pub fn path(&self) -> &Path {
        &self.made
    }

    /// Waits until all is on the disk, and gives the file its name.
    ///
    /// # Errors
    /// [`Error::Exists`] when another process was faster; [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let Self { file, made, target } = self;
        file.sync_all().map_err(|error| Error::io(&target, error))?;
        made.persist_noclobber(&target).map_err(|refused| match refused.error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: target.clone() },
            _ => Error::io(&target, refused.error),
        })
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Refuses what has no room on the file system, as far as that says so.
fn set_aside(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes.max(1)) {
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A folder under a temporary name, which gets its own with [`Folder::finish`] and vanishes without.
pub struct Folder {
    partial: PathBuf,
    target: PathBuf,
    finished: bool,
}

impl Folder {
    /// Begins the folder `target`.
    ///
    /// # Errors
    /// [`Error::Exists`] when `target` exists and isn't an empty folder; [`Error::Io`] when it can't be made.
    pub fn begin(target: &Path) -> Result<Self> {
        let is_empty =
            |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if target.exists() && !is_empty(target) {
            return Err(Error::Exists { path: target.to_owned() });
        }
        if let Some(parent) = target.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        }
        let partial = partial_name(target, &std::process::id().to_string());
        fs::create_dir(&partial).map_err(|e| Error::io(&partial, e))?;
        Ok(Self { partial, target: target.to_owned(), finished: false })
    }

    /// Path of the folder until it is finished.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// [`Error::Io`] when it can't be renamed.
    pub fn finish(mut self) -> Result<()> {
        fs::rename(&self.partial, &self.target).map_err(|e| Error::io(&self.target, e))?;
        self.finished = true;
        let parent =
            self.target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // So that the name, too, survives a power cut; not every file system allows it.
        let _ = File::open(parent).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

/// Hidden, and with an end by which what a killed process left is found.
fn partial_name(path: &Path, mark: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{mark}.partial"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_whole_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"1").unwrap();
        write(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        write_unsynced(&path, b"3").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"3");
        assert!(write(&dir.path().join("absent/a"), b"4").is_err());
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_locked_file_is_locked_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"1").unwrap();
        let lock = write_locked(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert!(File::open(&path).unwrap().try_lock().is_err());
        drop(lock);
        assert!(File::open(&path).unwrap().try_lock().is_ok());
    }

    #[test]
    fn a_failure_names_the_file_and_not_the_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let message = write(&dir.path().join("absent/a"), b"1").unwrap_err().to_string();
        assert!(message.ends_with("absent/a: No such file or directory (os error 2)"), "{message}");
    }

    #[test]
    fn only_entries_and_secrets_are_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let [plain, entry, secret] = ["plain", "entry", "secret"].map(|name| dir.path().join(name));
        fs::write(dir.path().join("any"), "").unwrap();
        write(&plain, b"1").unwrap();
        write_entry(&entry, &[b"1", b"2"]).unwrap();
        write_secret(&secret, b"1").unwrap();
        assert_eq!(mode(&plain), mode(&dir.path().join("any")));
        assert_eq!((mode(&entry), mode(&secret)), (PRIVATE, PRIVATE));
        assert_eq!(fs::read(&entry).unwrap(), b"12");
    }

    #[test]
    fn a_secret_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_secret(&path, b"first").unwrap();
        let error = write_secret(&path, b"second").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["key"]);
    }

    #[test]
    fn a_file_in_pieces_is_whole_or_not_there_and_replaces_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = NewFile::begin(&path, 4).unwrap();
        file.write_all(b"ab").unwrap();
        drop(file);
        assert!(names(dir.path()).is_empty());
        let (mut file, other) =
            (NewFile::begin(&path, 4).unwrap(), NewFile::begin(&path, 4).unwrap());
        file.write_all(b"abcd").unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), b"abcd");
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcd");
        for late in [other.finish().err(), NewFile::begin(&path, 4).err()] {
            let message = late.unwrap().to_string();
            assert!(message.contains("exists already"), "{message}");
        }
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn what_has_no_room_is_refused_before_a_byte_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let error = NewFile::begin(&dir.path().join("a"), 1 << 62).err().unwrap();
        let Error::Io { source, .. } = &error else { panic!("{error}") };
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::FileTooLarge];
        assert!(kinds.contains(&source.kind()), "{error}");
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn an_unfinished_folder_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        drop(Folder::begin(&target).unwrap());
        assert!(names(dir.path()).is_empty());
        let folder = Folder::begin(&target).unwrap();
        write(&folder.path().join("x"), b"1").unwrap();
        folder.finish().unwrap();
        assert_eq!(names(&target), ["x"]);
        let message = Folder::begin(&target).err().unwrap().to_string();
        assert!(message.contains("exists already"), "{message}");
        assert_eq!(names(dir.path()), ["out"]);
    }
}
