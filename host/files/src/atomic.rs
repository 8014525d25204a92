//! Files and folders that exist either whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempPath;

use crate::error::{Error, Result};
use crate::leftovers;

/// Permissions of an ordinary file, before the process's umask.
const SHARED: u32 = 0o666;
/// Permissions of a file for its owner alone.
const PRIVATE: u32 = 0o600;

/// Writes a file through a temporary one beside it, and waits until it is on the disk.
///
/// # Errors
/// [`Error::Io`] (folder missing, disk full); what was at `path` before is untouched then.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    leftovers::sweep(path);
    let written = partial(path, SHARED, &[bytes], true).and_then(|made| replace(made, path));
    written.map_err(|error| Error::io(&final_path(path), error))
}

/// Replaces a file that processes lock: the new one is locked before it gets its name, so
/// nobody finds it free. Where the file system has no locks it is written all the same.
///
/// # Errors
/// As [`write`].
pub fn write_locked(path: &Path, bytes: &[u8]) -> Result<File> {
    leftovers::sweep(path);
    let written = partial(path, SHARED, &[bytes], true).and_then(|made| {
        made.path.persist(path).map_err(|error| error.error)?;
        Ok(made.file)
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
    made.path.persist_noclobber(path).map_err(|error| error.error)
}

/// A temporary file beside the one that it is to be.
struct Partial {
    /// Open, and so locked, for as long as it isn't finished.
    file: File,
    /// Removed unless it gets a name.
    path: TempPath,
}

fn partial(path: &Path, mode: u32, parts: &[&[u8]], sync: bool) -> io::Result<Partial> {
    // Threads may write the same file at once.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let partial = leftovers::name(path, &format!("{}-{number}", std::process::id()));
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(mode).open(&partial)?;
    let made = TempPath::try_from_path(&partial)?;
    leftovers::hold(&file);
    for part in parts {
        file.write_all(part)?;
    }
    if sync {
        file.sync_all()?;
    }
    Ok(Partial { file, path: made })
}

fn replace(made: Partial, path: &Path) -> io::Result<()> {
    made.path.persist(path).map_err(|error| error.error)
}

/// The path that something in an unfinished [`Folder`] is to have; every other path as it is.
pub fn final_path(path: &Path) -> PathBuf {
    let name = |part: &OsStr| part.to_str().and_then(leftovers::final_name).map(OsString::from);
    if path.iter().all(|part| name(part).is_none()) {
        return path.to_owned();
    }
    path.iter().map(|part| name(part).unwrap_or_else(|| part.to_owned())).collect()
}

/// A file that is written piece by piece under a temporary name, which gets its own with [`NewFile::finish`] and
/// vanishes without. It never takes the place of a file that is there.
pub struct NewFile {
    made: Partial,
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
        leftovers::sweep(target);
        let begun = || {
            let made = partial(target, SHARED, &[], false)?;
            set_aside(&made.file, bytes)?;
            Ok(Self { made, target: target.to_owned() })
        };
        begun().map_err(|error| Error::io(target, error))
    }

    /// Where the bytes are until the file has its name.
    pub fn path(&self) -> &Path {
        &self.made.path
    }

    /// Waits until all is on the disk, and gives the file its name.
    ///
    /// # Errors
    /// [`Error::Exists`] when another process was faster; [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let Self { made, target } = self;
        made.file.sync_all().map_err(|error| Error::io(&target, error))?;
        made.path.persist_noclobber(&target).map_err(|refused| match refused.error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: target.clone() },
            _ => Error::io(&target, refused.error),
        })
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.made.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.made.file.flush()
    }
}

/// Bytes that this user can still write to the file system of a folder, as far as it says so.
pub fn room(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
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
    /// Locked for as long as it isn't finished.
    _held: File,
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
        leftovers::sweep(target);
        let partial = leftovers::name(target, &std::process::id().to_string());
        fs::create_dir(&partial).map_err(|e| Error::io(&partial, e))?;
        let held = File::open(&partial).map_err(|e| Error::io(&partial, e))?;
        leftovers::hold(&held);
        Ok(Self { _held: held, partial, target: target.to_owned(), finished: false })
    }

    /// Makes sure that the file system has room for so many bytes, as far as it says so: a full disk is found out now
    /// and not when most of it is written.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no room.
    pub fn check_room(&self, bytes: u64) -> Result<()> {
        let there_is = || {
            let made = partial(&self.partial.join("room"), PRIVATE, &[], false)?;
            set_aside(&made.file, bytes)
        };
        there_is().map_err(|error| Error::io(&self.target, error))
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
        let within = folder.path().join("x");
        assert_eq!(final_path(&within), target.join("x"));
        folder.check_room(1 << 20).unwrap();
        let message = folder.check_room(1 << 62).unwrap_err().to_string();
        assert!(message.starts_with(&target.display().to_string()), "{message}");
        assert!(message.contains("name a"), "{message}");
        assert!(names(folder.path()).is_empty());
        write(&within, b"1").unwrap();
        folder.finish().unwrap();
        assert_eq!(names(&target), ["x"]);
        let message = Folder::begin(&target).err().unwrap().to_string();
        assert!(message.contains("exists already"), "{message}");
        assert_eq!(names(dir.path()), ["out"]);
    }
}
