//! Bytes by their SHA-256, each stored once, in one file that only grows:
//! 32 bytes of hash, the length as little-endian u64, the bytes; and so on.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Mutex,
};

use host_files::own;
use sha2::{Digest as _, Sha256};

use host_contract::{Lists, ListsWriter};

use host_sandbox::{Error, Result};

const HEADER: u64 = 32 + 8;

type Digest = [u8; 32];

/// Collects bytes until they are written; those that are known are not kept again.
pub(super) struct BlobsWriter {
    path: PathBuf,
    file: File,
    known: HashSet<Digest>,
    pending: Vec<u8>,
    pending_digests: Vec<Digest>,
    /// Bytes that may still be stored.
    left: u64,
    /// How often something didn't fit.
    refused: u64,
}

impl BlobsWriter {
    pub fn create(path: &Path, budget_bytes: u64) -> Result<Self> {
        Ok(Self {
            file: own::create(path).map_err(|source| Error::journal(path, &source))?,
            path: path.to_owned(),
            known: HashSet::new(),
            pending: Vec::new(),
            pending_digests: Vec::new(),
            left: budget_bytes,
            refused: 0,
        })
    }

    /// Goes on behind the first `bytes` of a file, of which the rest is cut off; `left`
    /// is what was left of the budget there.
    pub fn reopen(path: &Path, bytes: u64, left: u64) -> Result<Self> {
        let failed = |source: io::Error| Error::journal(path, &source);
        let mut file = own::open(path).map_err(failed)?;
        let (places, end) = scan(&mut file, bytes).map_err(failed)?;
        if end != bytes {
            let problem = format!("has no whole {bytes} bytes; the run can't go on from there");
            let path = path.to_owned();
            return Err(Error::Journal { path, problem });
        }
        file.set_len(bytes).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            known: places.iter().map(|stored| stored.digest).collect(),
            pending: Vec::new(),
            pending_digests: Vec::new(),
            left,
            refused: 0,
        })
    }

    /// Bytes of the file, and what is left of the budget.
    pub fn place(&mut self) -> Result<(u64, u64)> {
        let bytes = self.file.stream_position();
        let bytes = bytes.map_err(|source| Error::journal(&self.path, &source))?;
        Ok((bytes, self.left))
    }

    /// Returns the digest, and keeps the bytes if they fit into the budget.
    pub fn put(&mut self, bytes: &[u8]) -> String {
        let digest: Digest = Sha256::digest(bytes).into();
        if !bytes.is_empty() && !self.known.contains(&digest) {
            let size = HEADER + bytes.len() as u64;
            if size > self.left {
                self.refused += 1;
            } else {
                self.left -= size;
                self.keep(digest, bytes);
            }
        }
        hex::encode(digest)
    }

    /// Keeps bytes whatever the budget.
    pub fn put_always(&mut self, bytes: &[u8]) -> String {
        let digest: Digest = Sha256::digest(bytes).into();
        if !bytes.is_empty() && !self.known.contains(&digest) {
            self.keep(digest, bytes);
        }
        hex::encode(digest)
    }

    fn keep(&mut self, digest: Digest, bytes: &[u8]) {
        self.known.insert(digest);
        self.pending_digests.push(digest);
        self.pending.extend(digest);
        self.pending.extend((bytes.len() as u64).to_le_bytes());
        self.pending.extend(bytes);
    }

    /// Writes what was collected. What can't be written in full is cut off again.
    pub fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = append(&mut self.file, &self.pending);
        let digests = std::mem::take(&mut self.pending_digests);
        self.pending.clear();
        written.map_err(|source| {
            for digest in digests {
                self.known.remove(&digest);
            }
            Error::journal(&self.path, &source)
        })
    }

    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|source| Error::journal(&self.path, &source))
    }

    /// How often something didn't fit into the budget.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl ListsWriter for BlobsWriter {
    fn put(&mut self, values: &[f32]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::put(self, &bytes)
    }
}

/// Appends all bytes or none.
pub(super) fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let start = file.stream_position()?;
    file.write_all(bytes).inspect_err(|_| {
        // The write error is the one to report, whether or not the cut succeeds.
        let _ = file.set_len(start);
    })
}

/// Where something lies.
struct Stored {
    digest: Digest,
    start: u64,
    length: u64,
}

/// What lies in the first `size` bytes, and where the last whole one ends.
fn scan(file: &mut File, size: u64) -> io::Result<(Vec<Stored>, u64)> {
    let size = size.min(file.metadata()?.len());
    let mut found = Vec::new();
    let mut at = 0;
    while at + HEADER <= size {
        let mut header = [0; HEADER as usize];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut header)?;
        let (digest, length) = header.split_at(32);
        let mut known = [0; 32];
        known.copy_from_slice(digest);
        let length = length.try_into().map_or(u64::MAX, u64::from_le_bytes);
        let start = at + HEADER;
        match start.checked_add(length) {
            Some(end) if end <= size => {
                found.push(Stored { digest: known, start, length });
                at = end;
            }
            _ => break,
        }
    }
    Ok((found, at))
}

/// The same file, read.
#[derive(Debug)]
pub(super) struct Blobs {
    path: PathBuf,
    file: Mutex<File>,
    places: HashMap<String, (u64, u64)>,
    /// Set if the file ends in the middle of something.
    cut: bool,
}

impl Blobs {
    /// Finds everything that is in the file. A file that is damaged from some place on
    /// is read up to there.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source: io::Error| Error::journal(path, &source);
        let mut file = own::open_to_read(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let (places, end) = scan(&mut file, size).map_err(failed)?;
        let places = places.into_iter();
        let places =
            places.map(|stored| (hex::encode(stored.digest), (stored.start, stored.length)));
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            places: places.collect(),
            cut: end != size,
        })
    }

    pub fn is_cut(&self) -> bool {
        self.cut
    }

    pub fn has(&self, digest: &str) -> bool {
        self.places.contains_key(digest) || is_empty(digest)
    }

    /// The bytes, whose digest is checked.
    pub fn get(&self, digest: &str) -> Result<Vec<u8>> {
        self.find(digest).map_err(|problem| self.problem(problem))
    }

    /// What is wrong with this file.
    pub fn problem(&self, problem: String) -> Error {
        Error::Journal { path: self.path.clone(), problem }
    }

    fn find(&self, digest: &str) -> std::result::Result<Vec<u8>, String> {
        if is_empty(digest) {
            return Ok(Vec::new());
        }
        let Some((start, length)) = self.places.get(digest) else {
            return Err(format!("has no {digest}"));
        };
        let read = || -> io::Result<Vec<u8>> {
            let mut file = self.file.lock().map_err(|_| io::Error::other("locked"))?;
            file.seek(SeekFrom::Start(*start))?;
            let mut bytes = Vec::new();
            Read::by_ref(&mut *file).take(*length).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| source.to_string())?;
        if host_files::sha256::hex(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(format!("what is stored as {digest} was changed"))
        }
    }
}

impl Lists for Blobs {
    fn list(&self, digest: &str) -> std::result::Result<Vec<f32>, String> {
        let bytes = self.find(digest)?;
        let (values, rest) = bytes.as_chunks::<4>();
        if rest.is_empty() {
            Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        } else {
            Err(format!("{digest} is no list of f32"))
        }
    }
}

/// Nothing is always there.
fn is_empty(digest: &str) -> bool {
    digest == host_files::sha256::hex(b"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytes_come_back_and_are_stored_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tensors.bin");
        let mut writer = BlobsWriter::create(&path, 1 << 20).unwrap();
        let one = ListsWriter::put(&mut writer, &[1.5, f32::NAN]);
        let nothing = writer.put(b"");
        writer.flush().unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        assert_eq!(ListsWriter::put(&mut writer, &[1.5, f32::NAN]), one);
        writer.flush().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size);

        let blobs = Blobs::open(&path).unwrap();
        let values = blobs.list(&one).unwrap();
        assert!(values[0] == 1.5 && values[1].is_nan());
        assert_eq!(blobs.get(&nothing).unwrap(), b"");
        assert!(!blobs.is_cut() && blobs.has(&one) && blobs.has(&nothing));
        assert!(blobs.get(&host_files::sha256::hex(b"other")).is_err());
    }

    #[test]
    fn beyond_the_budget_only_the_digest_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tensors.bin");
        let mut writer = BlobsWriter::create(&path, 2 * (HEADER + 4)).unwrap();
        let kept = [writer.put(b"1234"), writer.put(b"5678")];
        assert_eq!(writer.refused(), 0);
        let lost = writer.put(b"9999");
        assert_eq!(writer.refused(), 1);
        writer.flush().unwrap();
        let blobs = Blobs::open(&path).unwrap();
        assert!(kept.iter().all(|digest| blobs.has(digest)) && !blobs.has(&lost));
    }

    #[test]
    fn changed_bytes_and_a_cut_file_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tensors.bin");
        let mut writer = BlobsWriter::create(&path, 1 << 20).unwrap();
        let (a, b) = (writer.put(b"aaaa"), writer.put(b"bbbb"));
        writer.flush().unwrap();
        let genuine = std::fs::read(&path).unwrap();
        for at in 0..genuine.len() {
            let mut changed = genuine.clone();
            changed[at] ^= 0x80;
            std::fs::write(&path, &changed).unwrap();
            let blobs = Blobs::open(&path).unwrap();
            assert!(blobs.get(&a).is_err() || blobs.get(&b).is_err(), "byte {at}");
            std::fs::write(&path, &genuine[..at]).unwrap();
            let blobs = Blobs::open(&path).unwrap();
            assert!(blobs.get(&b).is_err());
            assert_eq!(blobs.is_cut(), at != 0 && at != genuine.len() / 2, "cut at {at}");
        }
    }
}
