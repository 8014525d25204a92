//! SHA-256 as lower-case hexadecimal.

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Digest of bytes in memory.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Digest of several parts, concatenated.
pub fn hex_of(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hasher = Sha256::new();
    parts.into_iter().for_each(|part| hasher.update(part));
    hex::encode(hasher.finalize())
}

/// A digest that grows with what is read or written.
#[derive(Clone, Default)]
pub struct Running(Sha256);

impl Running {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds everything up to the end of a file, and says how many bytes that were.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(&mut self, file: &mut impl io::Read) -> io::Result<u64> {
        let (mut chunk, mut total) = (vec![0; 1 << 20], 0);
        loop {
            match file.read(&mut chunk) {
                Ok(0) => return Ok(total),
                Ok(read) => {
                    self.update(&chunk[..read]);
                    total += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Digest of all bytes so far.
    pub fn hex(&self) -> String {
        hex::encode(self.0.clone().finalize())
    }
}

/// Digest of a file, read in chunks.
///
/// # Errors
/// When it can't be opened or read.
pub fn file(path: &Path) -> io::Result<String> {
    let mut running = Running::default();
    running.read(&mut File::open(path)?)?;
    Ok(running.hex())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_digest_of_the_standard_and_all_three_alike() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex("abc"), abc);
        assert_eq!(hex_of(["a", "bc"]), abc);
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("x");
        let bytes = vec![7u8; 3 << 20];
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(file(&path).unwrap(), hex(&bytes));
        assert!(file(&here.path().join("absent")).is_err());
    }
}
