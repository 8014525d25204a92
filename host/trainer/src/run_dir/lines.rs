//! A JSON Lines file that only ever holds whole lines.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};

/// The file, open at its end.
pub struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create_new(true).write(true).open(path);
        Ok(Self { path: path.into(), file: file.map_err(|source| Error::write(path, source))? })
    }

    /// Goes on behind the first `bytes`; the rest is cut off. Of a file that isn't there,
    /// nothing was written.
    pub fn reopen(path: &Path, bytes: u64) -> Result<Self> {
        if bytes == 0 && !path.exists() {
            return Self::create(path);
        }
        let failed = |source| Error::write(path, source);
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < bytes {
            return Err(Error::file(
                path,
                "is shorter than it was at the last checkpoint, so the run can't go on; start a \
                 new one",
            ));
        }
        file.set_len(bytes).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { path: path.into(), file })
    }

    /// Bytes written so far.
    pub fn bytes(&mut self) -> Result<u64> {
        let position = self.file.stream_position();
        position.map_err(|source| Error::write(&self.path, source))
    }

    /// Makes sure that they are on the disk.
    pub fn sync(&self) -> Result<()> {
        let synced = self.file.sync_all();
        synced.map_err(|source| Error::write(&self.path, source))
    }

    pub fn write(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)
            .map_err(|error| Error::file(&self.path, error.to_string()))?;
        line.push(b'\n');
        let start =
            self.file.stream_position().map_err(|source| Error::write(&self.path, source))?;
        self.file.write_all(&line).map_err(|source| {
            // The write error is the one to report, whether or not the cut succeeds.
            let _ = self.file.set_len(start);
            Error::write(&self.path, source)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_says_so() {
        let file = OpenOptions::new().write(true).open("/dev/full").expect("device");
        let mut lines = Lines { path: "metrics.jsonl".into(), file };
        let error = lines.write(&1).expect_err("full").to_string();
        assert!(
            error.contains("cannot write metrics.jsonl") && error.contains("free some space"),
            "{error}"
        );
    }
}
