//! Errors of files and folders.

use std::io;
use std::path::{Path, PathBuf};

/// A result whose error names the file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every message is one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{}: {source}{}", path.display(), advice(source))]
    Io {
        /// The file or folder, under its final name.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A new file or folder is to have a name that is taken.
    #[error("{}: exists already; give another name, or remove it", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },

    /// A file lacks bytes that were written to it before.
    #[error("{}: is shorter than it was", path.display())]
    Shorter {
        /// The file.
        path: PathBuf,
    },

    /// A value that JSON can't hold.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file it was to be written to.
        path: PathBuf,
        /// Which value, and why.
        source: serde_json::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// What to do about a file or folder that can't be written, for the end of a message; nothing where the system's words
/// say it.
pub fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => "; make room there, or name a place on another disk",
        ReadOnlyFilesystem => "; name another place",
        // Limits of this program have words of their own.
        _ if error.raw_os_error() == Some(libc::EFBIG) => {
            "; files there may not be so large (`ulimit -f`, or the file system): name another place"
        }
        _ => "",
    }
}
