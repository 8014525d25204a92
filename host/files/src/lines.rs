//! A JSON Lines file that only ever holds whole lines.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::own;

/// The file, open at its end.
pub struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    /// Begins a file, which must not exist.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn create(path: &Path) -> Result<Self> {
        let file = own::create(path).map_err(|source| Error::io(path, source))?;
        Ok(Self { path: path.into(), file })
    }

    /// Goes on behind the first `bytes`; the rest is cut off. Of a file that isn't there,
    /// nothing was written.
    ///
    /// # Errors
    /// [`Error::Shorter`] when it holds fewer bytes, and [`Error::Io`].
    pub fn reopen(path: &Path, bytes: u64) -> Result<Self> {
        if bytes == 0 && path.symlink_metadata().is_err() {
            return Self::create(path);
        }
        let failed = |source| Error::io(path, source);
        let mut file = own::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < bytes {
            return Err(Error::Shorter { path: path.to_owned() });
        }
        file.set_len(bytes).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { path: path.into(), file })
    }

    /// Bytes written so far.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn bytes(&mut self) -> Result<u64> {
        let position = self.file.stream_position();
        position.map_err(|source| Error::io(&self.path, source))
    }

    /// Makes sure that they are on the disk.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|source| Error::io(&self.path, source))
    }

    /// Adds a line.
    ///
    /// # Errors
    /// [`Error::Json`] for a value that JSON can't hold, and [`Error::Io`]; the file then
    /// ends where it ended before.
    pub fn write(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)
            .map_err(|source| Error::Json { path: self.path.clone(), source })?;
        line.push(b'\n');
        let start = self.bytes()?;
        self.file.write_all(&line).map_err(|source| {
            // The write error is the one to report, whether or not the cut succeeds.
            let _ = self.file.set_len(start);
            Error::io(&self.path, source)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_says_so() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut lines = Lines { path: "metrics.jsonl".into(), file };
        let Err(Error::Io { path, source }) = lines.write(&1) else {
            panic!("written to a full disk");
        };
        assert_eq!(path, Path::new("metrics.jsonl"));
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_is_behind_the_mark_is_cut_off_and_written_again() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a.jsonl");
        let mut lines = Lines::create(&path).unwrap();
        lines.write(&1).unwrap();
        let mark = lines.bytes().unwrap();
        lines.write(&"lost").unwrap();
        assert!(Lines::create(&path).is_err());
        let mut lines = Lines::reopen(&path, mark).unwrap();
        lines.write(&[2]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n[2]\n");
        assert!(matches!(Lines::reopen(&path, 100), Err(Error::Shorter { .. })));
        Lines::reopen(&here.path().join("new.jsonl"), 0).unwrap();
        assert!(Lines::reopen(&here.path().join("absent.jsonl"), 1).is_err());
    }
}
