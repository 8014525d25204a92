//! Which format a data file has, by its content first and its extension second.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::delimited::{self, Separator};
use super::error::{Error, Place, Result};
use super::extension::extension;
use super::input::Input;
use super::visit::{Record, Visit};
use super::{json, parquet_file};

/// The formats that data comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    JsonLines,
    JsonArray,
    Parquet,
    /// Fields with a separator between them, under the names of a first line.
    Delimited(Separator),
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JsonLines => f.write_str("JSON Lines"),
            Self::JsonArray => f.write_str("JSON array"),
            Self::Parquet => f.write_str("Parquet"),
            Self::Delimited(separator) => write!(f, "{separator}"),
        }
    }
}

impl Format {
    /// As it is told, if a file's name doesn't say that it has this format.
    pub(super) fn guessed(self, name: &Path) -> Option<String> {
        match (self, extension(name).as_str()) {
            (Self::Delimited(Separator::Comma), "csv")
            | (Self::Delimited(Separator::Tab), "tsv") => None,
            (Self::Delimited(_), _) => Some(self.to_string()),
            _ => None,
        }
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Of the start of a file, which says what it is.
const HEAD: usize = 64 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// The format of a file called `name` that starts with `head`, unpacked and without a byte order mark. The content
/// decides: a JSON array called `.jsonl` is read as an array. The extension matters where the content is none of the
/// formats, for the error message and for JSON Lines whose first line is broken.
fn detect(name: &Path, head: &[u8]) -> Result<Format> {
    let extension = extension(name);
    let wrong = |what: &str| Err(Error::Format { file: name.into(), what: what.into() });
    let content = head.trim_ascii_start();
    let Some(first) = content.first() else {
        return Err(Error::Empty { file: name.into() });
    };
    match (first, extension.as_str()) {
        (_, "parquet") => wrong("is called .parquet but doesn't start as a Parquet file does"),
        (b'[', _) => Ok(Format::JsonArray),
        (b'{', _) | (_, "jsonl" | "ndjson" | "json") => Ok(Format::JsonLines),
        (_, "csv") => Ok(Format::Delimited(Separator::of(content).unwrap_or(Separator::Comma))),
        (_, "tsv") => Ok(Format::Delimited(Separator::Tab)),
        _ => match Separator::of(content) {
            Some(separator) => Ok(Format::Delimited(separator)),
            None => {
                wrong("starts neither as JSON nor as Parquet nor as CSV with the names of columns")
            }
        },
    }
}

/// What a file is in whose text no format can be seen.
fn encoding(head: &[u8]) -> Option<&'static str> {
    let nulls = head.iter().filter(|byte| **byte == 0).count();
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32 text"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16 text"),
        // Each letter of English text has one.
        _ if nulls > 0 && 2 * nulls + 1 >= head.len() => Some("UTF-16 or UTF-32 text, or no text"),
        _ => None,
    }
}

/// Calls `visit` for every record of a file. What of all of them can't be read is added to
/// `unread`.
pub(super) fn records(
    input: &mut Input<'_>,
    unread: &mut BTreeSet<String>,
    visit: Visit<'_>,
) -> Result<Format> {
    let mut count = 0usize;
    let mut counted = |place: Place, record: Record| {
        count += 1;
        visit(place, record)
    };
    let format = opened(input)?;
    match format {
        Format::JsonLines => json::lines(input, &mut counted)?,
        Format::JsonArray => json::array(input, &mut counted)?,
        Format::Delimited(separator) => delimited::rows(input, separator, &mut counted)?,
        Format::Parquet => {
            parquet_file::rows(input, unread, &mut counted)?;
        }
    }
    if count == 0 {
        return Err(Error::Empty { file: input.name.to_path_buf() });
    }
    Ok(format)
}

/// The format, with the input where its content begins.
fn opened(input: &mut Input<'_>) -> Result<Format> {
    let name = input.name.clone();
    let head = input.fill(HEAD)?;
    if head.starts_with(PARQUET_MAGIC) {
        return match input.packing {
            None => Ok(Format::Parquet),
            Some(packing) => {
                let what = format!("is a Parquet file packed with {packing}; unpack it");
                Err(Error::Source { file: name.to_path_buf(), what })
            }
        };
    }
    if head.starts_with(BYTE_ORDER_MARK) {
        input.window.skip(BYTE_ORDER_MARK.len());
    } else if let Some(found) = encoding(&head[..head.len().min(4096)]) {
        return Err(Error::Encoding { file: name.to_path_buf(), found });
    }
    input.take_space()?;
    detect(&name, input.fill(HEAD)?)
}
