//! The pieces of a file as the reader of Parquet takes them: of a column one page at a time.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::pieces::{LARGEST, Pieces};

/// What is read where nobody says how much it is.
const STRETCH: u64 = 16 << 10;

/// Of a file.
pub struct Ranges(pub Arc<dyn Pieces>);

impl Ranges {
    fn piece(&self, at: u64, length: usize) -> Result<Bytes> {
        let end = at.checked_add(length as u64).filter(|end| *end <= self.len());
        if end.is_none() {
            return Err(ParquetError::EOF("it ends too early".into()));
        }
        if length > LARGEST {
            let what = format!("a page of more than {} MiB", LARGEST >> 20);
            return Err(ParquetError::General(what));
        }
        Ok(self.0.piece(at, length)?)
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.0.length()
    }
}

impl ChunkReader for Ranges {
    type T = Stretch;

    fn get_read(&self, start: u64) -> Result<Stretch> {
        Ok(Stretch { from: Self(Arc::clone(&self.0)), at: start, next: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.piece(start, length)
    }
}

/// What follows some place.
pub struct Stretch {
    from: Ranges,
    at: u64,
    next: Bytes,
}

impl Read for Stretch {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.next.is_empty() {
            let length = self.from.len().saturating_sub(self.at).min(STRETCH);
            self.next = self.from.piece(self.at, length as usize).map_err(io::Error::other)?;
            self.at += length;
        }
        let length = into.len().min(self.next.len());
        self.next.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
