//! Which format a data file has, by its content first and its extension second.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use host_files::capped;

use super::error::{Error, Place, Result};
use super::visit::{Record, Visit};
use super::{json, parquet_file};

/// The formats that data comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    JsonLines,
    JsonArray,
    Parquet,
}

/// Bytes of a data file: they and what becomes of them are in memory at once.
const LARGEST: u64 = 4 << 30;
const HEAD: u64 = 4096;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const PARQUET_MAGIC: &[u8] = b"PAR1";
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";

/// The format of a file called `name` with this content. The content decides: a
/// JSON array called `.jsonl` is read as an array. The extension matters where
/// the content is none of the formats, for the error message and for JSON Lines
/// whose first line is broken.
pub fn detect(name: &Path, bytes: &[u8]) -> Result<Format> {
    let extension = name.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
    let wrong = |what: &str| Err(Error::Format { file: name.into(), what: what.into() });
    if bytes.starts_with(PARQUET_MAGIC) {
        return Ok(Format::Parquet);
    }
    let content = without_mark(bytes).trim_ascii_start();
    if content.is_empty() {
        return Err(Error::Empty { file: name.into() });
    }
    if bytes.starts_with(GZIP_MAGIC) {
        return wrong("is compressed with gzip and must be unpacked first");
    }
    match (content[0], extension.as_str()) {
        (_, "parquet") => wrong("is called .parquet but doesn't start as a Parquet file does"),
        (b'[', _) => Ok(Format::JsonArray),
        (b'{', _) | (_, "jsonl" | "ndjson" | "json") => Ok(Format::JsonLines),
        _ => wrong("starts neither as JSON nor as Parquet"),
    }
}

/// The bytes of a file, or of an embedded one (`demo:NAME`, `anchors:NAME`).
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    if let Some(bytes) = crate::embedded(path) {
        return Ok(bytes.to_vec());
    }
    let failed = |source| Error::Read { file: path.into(), source };
    // What isn't data is said before gigabytes of it are read; a pipe can't be read twice.
    let mut head = Vec::new();
    let mut file = File::open(path).map_err(failed)?;
    if file.metadata().is_ok_and(|about| about.is_file()) {
        file.by_ref().take(HEAD).read_to_end(&mut head).map_err(failed)?;
        if !without_mark(&head).trim_ascii().is_empty() {
            detect(path, &head)?;
        }
    }
    capped::read(path, LARGEST).map_err(failed)
}

/// Calls `visit` for every record of the file content `bytes`. What of all of them can't
/// be read is added to `unread`.
pub(super) fn records(
    name: &Path,
    bytes: Vec<u8>,
    unread: &mut BTreeSet<String>,
    visit: Visit<'_>,
) -> Result<()> {
    let file: Arc<Path> = name.into();
    let mut count = 0usize;
    let mut counted = |place: Place, record: Record| {
        count += 1;
        visit(place, record)
    };
    match detect(name, &bytes)? {
        Format::JsonLines => json::lines(&file, without_mark(&bytes), &mut counted)?,
        Format::JsonArray => json::array(&file, without_mark(&bytes), &mut counted)?,
        Format::Parquet => parquet_file::rows(&file, bytes, unread, &mut counted)?,
    }
    if count == 0 {
        return Err(Error::Empty { file: name.into() });
    }
    Ok(())
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}
