//! One sha256 over everything a model is made of.

use std::path::Path;

use host_files::sha256;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// A part of a model: its file name inside the model and where its bytes are.
pub enum Part<'a> {
    /// A file on disk, read in chunks.
    File(&'a str, &'a Path),
    /// Bytes that are already in memory.
    Bytes(&'a str, &'a [u8]),
}

impl Part<'_> {
    fn name(&self) -> &str {
        match self {
            Part::File(name, _) | Part::Bytes(name, _) => name,
        }
    }

    fn sha256(&self) -> Result<String> {
        match self {
            Part::File(_, path) => file_sha256(path),
            Part::Bytes(_, bytes) => Ok(sha256::hex(bytes)),
        }
    }
}

/// sha256 (lower-case hex) of one file.
///
/// # Errors
/// [`Error::Io`] when the file can't be opened or read.
pub fn file_sha256(path: &Path) -> Result<String> {
    sha256::file(path).map_err(|source| Error::io(path, source))
}

/// Digest of a model: sha256 over the lines `sha256␣␣name` of its parts in name order, the format of `sha256sum`.
///
/// The same files give the same digest wherever they lie; another file name, another order of shards or
/// another byte gives another digest.
///
/// # Errors
/// [`Error::Io`] when a part can't be read.
pub fn model_digest(parts: &[Part<'_>]) -> Result<String> {
    let mut lines = parts
        .par_iter()
        .map(|part| Ok((part.name().to_owned(), part.sha256()?)))
        .collect::<Result<Vec<_>>>()?;
    lines.sort();
    Ok(sha256::hex_of(lines.iter().map(|(name, sha256)| format!("{sha256}  {name}\n"))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn order_of_the_parts_does_not_matter_but_names_and_bytes_do() {
        let ab = model_digest(&[Part::Bytes("a", b"1"), Part::Bytes("b", b"2")]).unwrap();
        let ba = model_digest(&[Part::Bytes("b", b"2"), Part::Bytes("a", b"1")]).unwrap();
        let swapped = model_digest(&[Part::Bytes("a", b"2"), Part::Bytes("b", b"1")]).unwrap();
        assert_eq!(ab, ba);
        assert_ne!(ab, swapped);
    }

    #[test]
    fn a_file_and_its_bytes_have_the_same_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, vec![7u8; 3 << 20]).unwrap();
        let from_file = model_digest(&[Part::File("x", &path)]).unwrap();
        let from_bytes = model_digest(&[Part::Bytes("x", &vec![7u8; 3 << 20])]).unwrap();
        assert_eq!(from_file, from_bytes);
        assert!(file_sha256(&dir.path().join("absent")).is_err());
    }
}
