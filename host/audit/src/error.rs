//! What is wrong with a file beside a journal.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file can't be used, with its path.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("can't read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error(transparent)]
    Journal(#[from] host_sandbox::Error),
    #[error(transparent)]
    Write(#[from] host_files::Error),
}

impl FileError {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), problem: problem.into() }
    }
}
