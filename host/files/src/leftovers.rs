//! What a killed process left of files and folders that it didn't finish.

use std::fs::{self, DirEntry, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::private;

/// The end of the name of what isn't finished.
const END: &str = ".partial";
/// How long something unfinished must have stood still. Its maker takes a lock right after it has made it.
const AGE: Duration = Duration::from_secs(60);
/// Entries of a folder that are looked at.
const ENTRIES: usize = 10_000;

/// The name under which `path` is written: hidden, with a `mark` that is the writer's own.
pub fn name(path: &Path, mark: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{mark}{END}"))
}

/// The name that an unfinished file or folder is to get; none for every other name.
pub fn final_name(name: &str) -> Option<&str> {
    let (name, mark) = name.strip_prefix('.')?.strip_suffix(END)?.rsplit_once('.')?;
    let is_mark = !mark.is_empty() && mark.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    is_mark.then_some(name)
}

/// Locks what is being written for as long as its writer lives. Where the file system has no locks nothing is swept
/// either.
pub fn hold(file: &File) {
    let _ = file.try_lock();
}

/// Removes what earlier writers of `path` left unfinished: files and folders of this user, whose writer is gone and that
/// have stood still for a while.
pub fn sweep(path: &Path) {
    sweep_older(path, AGE);
}

fn sweep_older(path: &Path, age: Duration) {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(entries), Some(target)) = (fs::read_dir(parent), path.file_name()) else { return };
    let target = target.to_string_lossy();
    for entry in entries.take(ENTRIES).flatten() {
        if final_name(&entry.file_name().to_string_lossy()) == Some(&*target) {
            remove(&entry, age);
        }
    }
}

fn remove(entry: &DirEntry, age: Duration) {
    let path = entry.path();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(&path) else { return };
    let Ok(found) = file.metadata() else { return };
    let is_own = private::user().is_ok_and(|user| user == found.uid());
    let is_old = found.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|it| it >= age);
    if !is_own || !is_old {
        return;
    }
    match file.try_lock() {
        Ok(()) => {}
        // Somebody writes it, or nobody can tell.
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return,
    }
    let removed = if found.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    match removed {
        Ok(()) => tracing::info!("{}: left by a process that was killed, removed", path.display()),
        Err(error) => tracing::warn!(
            "{}: left by a process that was killed, can't be removed: {error}",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_the_same_target_left_is_removed_and_only_if_nobody_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let target = at("out.gguf");
        let (file, folder) = (name(&target, "17-0"), name(&target, "17"));
        let others = ["out.gguf", ".out.gguf.partial", ".out.gguf.x.partial", ".out.17.partial"];
        fs::create_dir_all(folder.join("within")).unwrap();
        fs::write(folder.join("within/a"), "half").unwrap();
        fs::write(&file, "half").unwrap();
        others.iter().for_each(|name| fs::write(at(name), "mine").unwrap());
        std::os::unix::fs::symlink(at("out.gguf"), name(&target, "18")).unwrap();

        // Too young.
        sweep(&target);
        assert!(file.exists() && folder.exists());
        // Somebody writes.
        let writers = [&file, &folder].map(|path| File::open(path).unwrap());
        writers.iter().for_each(hold);
        sweep_older(&target, Duration::ZERO);
        assert!(file.exists() && folder.join("within/a").exists());
        drop(writers);
        sweep_older(&target, Duration::ZERO);
        assert!(!file.exists() && !folder.exists());
        assert!(name(&target, "18").is_symlink());
        assert!(others.iter().all(|name| fs::read(at(name)).unwrap() == b"mine"));
    }

    #[test]
    fn names_of_the_unfinished_lead_to_their_final_ones() {
        let path = name(Path::new("a/b.c.gguf"), "12-3");
        assert_eq!(path, Path::new("a/.b.c.gguf.12-3.partial"));
        assert_eq!(final_name(".b.c.gguf.12-3.partial"), Some("b.c.gguf"));
        for other in ["b.c.gguf", ".b.partial", ".b.x.partial", ".b..partial"] {
            assert_eq!(final_name(other), None, "{other}");
        }
    }
}
