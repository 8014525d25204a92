//! The bytes of a file, piece by piece: of a Parquet file, which ends with its index, a few are needed at a time.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use bytes::Bytes;

/// The largest that is given to somebody who isn't trusted.
pub const LARGEST: usize = 256 << 20;

/// Whatever has the bytes of a file.
pub trait Pieces: Send + Sync {
    fn length(&self) -> u64;

    /// The bytes `at..at + length`, which the file has.
    fn piece(&self, at: u64, length: usize) -> io::Result<Bytes>;
}

/// A file that is open, or in memory.
#[derive(Debug)]
pub enum Content {
    /// With what it was when it was opened.
    File(File, Metadata),
    Memory(Bytes),
}

impl Content {
    /// Whether it is what it was when it was opened.
    pub fn is_unchanged(&self) -> bool {
        let Self::File(file, before) = self else { return true };
        let of = |it: &Metadata| (it.len(), it.mtime(), it.mtime_nsec());
        file.metadata().is_ok_and(|now| of(&now) == of(before))
    }

    /// A piece that somebody asks for who isn't trusted.
    pub fn asked(&self, at: u64, length: u64) -> io::Result<Bytes> {
        let end = at.checked_add(length).filter(|end| *end <= self.length());
        if end.is_none() || length > LARGEST as u64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.piece(at, length as usize)
    }
}

impl Pieces for Content {
    fn length(&self) -> u64 {
        match self {
            Self::File(_, before) => before.len(),
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn piece(&self, at: u64, length: usize) -> io::Result<Bytes> {
        match self {
            Self::File(file, _) => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, at)?;
                Ok(bytes.into())
            }
            Self::Memory(bytes) => Ok(bytes.slice(at as usize..at as usize + length)),
        }
    }
}
