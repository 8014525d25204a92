//! Files and folders that exist either whole or not at all.

use std::fs;
use std::io;
use std::path::Path;

/// Runs `fill` on a new path beside `target` and gives what it made the name `target`.
/// If it fails nothing is left, and what was at `target` is untouched.
fn beside<T>(target: &Path, fill: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let workshop = tempfile::Builder::new().prefix(".partial-").tempdir_in(parent)?;
    // Within a folder of its own, so that it gets the permissions of any other file.
    let partial = workshop.path().join("new");
    let filled = fill(&partial)?;
    fs::rename(&partial, target)?;
    Ok(filled)
}

/// Writes a file.
///
/// # Errors
/// If it can't be written: no such folder, no permission, disk full.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    beside(path, |partial| {
        let mut file = fs::File::create(partial)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    })
}

/// Makes a folder that `fill` writes into.
///
/// # Errors
/// Those of `fill`, and if `target` is there and not empty.
pub fn folder(target: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    beside(target, |partial| {
        fs::create_dir(partial)?;
        fill(partial)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries.map(|entry| name(entry).into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn writing_leaves_only_the_file() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a.wasm");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(write(&here.path().join("absent/a.wasm"), b"x").is_err());
        assert_eq!(names(here.path()), ["a.wasm"]);
    }

    #[test]
    fn a_folder_that_fails_half_way_leaves_nothing() {
        let here = tempfile::tempdir().unwrap();
        let target = here.path().join("project");
        let half = |path: &Path| {
            fs::write(path.join("first"), "1")?;
            fs::write(path.join("no/such/folder"), "2")
        };
        assert!(folder(&target, half).is_err());
        assert!(names(here.path()).is_empty());
        folder(&target, |path| fs::write(path.join("first"), "1")).unwrap();
        assert_eq!(names(&target), ["first"]);
        assert_eq!(names(here.path()), ["project"]);
    }
}
