//! Files that are packed with gzip or Zstandard, unpacked while they are read. A kilobyte can unfold to a gigabyte:
//! what comes out is counted against what went in.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use host_files::sha256;
use serde::Serialize;

/// More than this many times the packed bytes isn't data.
const UNFOLDED: u64 = 256;
const LITTLE: u64 = 256 << 20;
/// Log2 of the most bytes that Zstandard looks back: what it does without `--long`.
const WINDOW: u32 = 27;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    Gzip,
    Zstd,
}

/// Others, which aren't unpacked, by their first bytes.
const OTHERS: &[(&[u8], &str)] = &[
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
];

impl Packing {
    /// Longest start of a file that says how it is packed.
    pub const HEAD: usize = 6;

    /// Of a file that starts like this.
    ///
    /// # Errors
    /// The name of a packing that isn't unpacked.
    pub fn of(head: &[u8]) -> Result<Option<Self>, &'static str> {
        if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(name);
        }
        Ok(match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        })
    }

    /// What a file called so is packed with, and the rest of the name.
    pub fn of_name(name: &str) -> (&str, Option<Self>) {
        let ends = [(".gz", Self::Gzip), (".zst", Self::Zstd), (".zstd", Self::Zstd)];
        let end = |(end, packing): (&str, Self)| Some((name.strip_suffix(end)?, Some(packing)));
        ends.into_iter().find_map(end).unwrap_or((name, None))
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Length and digest of what was read so far.
#[derive(Default)]
pub(super) struct Meter {
    pub length: u64,
    pub hasher: sha256::Running,
}

/// Passes bytes on and measures them.
pub(super) struct Metered<R> {
    pub from: R,
    pub meter: Rc<RefCell<Meter>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        let mut meter = self.meter.borrow_mut();
        meter.length += read as u64;
        meter.hasher.update(&into[..read]);
        Ok(read)
    }
}

/// Why a packed file can't be read on.
#[derive(Debug)]
pub(super) struct Damaged(pub String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damaged {}

/// What a packed stream unfolds to. `meter` counts what goes in.
pub(super) fn unpacked<'a>(
    packing: Packing,
    from: impl Read + 'a,
    meter: Rc<RefCell<Meter>>,
) -> io::Result<impl Read + 'a> {
    let decoder: Box<dyn Read + 'a> = match packing {
        Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(from))),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(from)?;
            decoder.window_log_max(WINDOW)?;
            Box::new(decoder)
        }
    };
    Ok(Unpacked { decoder, length: 0, meter })
}

struct Unpacked<'a> {
    decoder: Box<dyn Read + 'a>,
    length: u64,
    meter: Rc<RefCell<Meter>>,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let damaged = |problem: String| io::Error::other(Damaged(problem));
        let read = self.decoder.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::UnexpectedEof => damaged("it ends too early".into()),
            _ => damaged(error.to_string()),
        })?;
        self.length += read as u64;
        let most = LITTLE + UNFOLDED * self.meter.borrow().length;
        if self.length > most {
            return Err(damaged(format!("it unfolds to more than {} MiB", most >> 20)));
        }
        Ok(read)
    }
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
