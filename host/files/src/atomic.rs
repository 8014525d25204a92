//! Files and folders that exist either whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Write a file through a temporary one beside it.
///
/// # Errors
/// [`Error::Io`] (folder missing, disk full); what was at `path` before is untouched then.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = partial_name(path);
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    });
    written.map_err(|e| {
        // Nothing to be done if this fails too.
        let _ = fs::remove_file(&partial);
        Error::io(path, e)
    })
}

/// A folder under a temporary name, which gets its own with [`Folder::finish`] and vanishes without.
pub struct Folder {
    partial: PathBuf,
    target: PathBuf,
    finished: bool,
}

impl Folder {
    /// Begin the folder `target`.
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
        let partial = partial_name(target);
        fs::create_dir(&partial).map_err(|e| Error::io(&partial, e))?;
        Ok(Self { partial, target: target.to_owned(), finished: false })
    }

    /// Where to write meanwhile.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Give the folder its name.
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

fn partial_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.partial", std::process::id()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"1").unwrap();
        write(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert!(write(&dir.path().join("absent/a"), b"3").is_err());
        assert_eq!(names(dir.path()), ["a"]);
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
