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

/// Digest of a file, read in chunks.
///
/// # Errors
/// When it can't be opened or read.
pub fn file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    let mut file = File::open(path)?;
    loop {
        match io::Read::read(&mut file, &mut chunk) {
            Ok(0) => return Ok(hex::encode(hasher.finalize())),
            Ok(read) => hasher.update(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
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
