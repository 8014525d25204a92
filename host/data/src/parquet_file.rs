//! Records from Parquet. Columns whose type no row can hold are left out and told.
//!
//! A kilobyte can unfold to gigabytes, in one row or in many: the file is decoded in a process with a limit on memory,
//! and what comes out of it is counted. That process can open nothing. It asks for the pieces of the file that it
//! needs, which are pages of columns, so neither process has more of the file in memory.

mod decode;
mod ranges;
mod worker;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use host_files::apart::{Budget, End, Worker};
use serde::Deserialize;

use super::error::{Error, Place, Result};
use super::input::Input;
use super::json::LONGEST_ROW;
use super::pieces::{Content, Pieces as _};
use super::visit::Visit;
use decode::{Fault, Record, Table};
use worker::{ANSWER, Batch, PIECE, batch, length};

pub use worker::serve;

/// Name of the job, as a worker is started with it.
pub const JOB: &str = "parquet";
/// Beside what a small file takes.
const MEMORY: u64 = 2 << 30;
/// For one batch.
const TIME: Duration = Duration::from_secs(60);
/// Text may be stored once for many rows. More than this many times the file isn't data.
const UNFOLDED: u64 = 256;
const LITTLE: u64 = 256 << 20;
/// Bytes of what is no file and has to be in memory.
const LARGEST_STREAM: usize = 4 << 30;

type Opened = std::result::Result<BTreeSet<String>, Fault>;

/// Calls `visit` for every row of a Parquet file. Adds the columns that can't be read to
/// `unread`.
pub(super) fn rows(
    input: &mut Input<'_>,
    unread: &mut BTreeSet<String>,
    visit: Visit<'_>,
) -> Result<()> {
    let file = &input.name.clone();
    let Some(content) = input.take_all(LARGEST_STREAM)? else {
        let what = format!(
            "is Parquet of more than {} GiB that is no file; save it as one",
            LARGEST_STREAM >> 30
        );
        return Err(Error::Source { file: file.to_path_buf(), what });
    };
    let content = Arc::new(content);
    let read = read(file, &content, unread, visit);
    if !content.is_unchanged() {
        return Err(Error::Changed { file: file.to_path_buf() });
    }
    read
}

fn read(
    file: &Arc<Path>,
    content: &Arc<Content>,
    unread: &mut BTreeSet<String>,
    visit: Visit<'_>,
) -> Result<()> {
    let most = LITTLE + UNFOLDED.saturating_mul(content.length());
    let broken = |message: String| Error::Parquet { file: file.to_path_buf(), message };
    let faulty = |fault: Fault| explained(file, fault);
    let mut source = Source::open(content).map_err(faulty)?;
    unread.append(&mut source.unread);
    let (mut number, mut total) = (0, 0);
    while let Some((record, length)) = source.next().map_err(faulty)? {
        number += 1;
        total += length as u64;
        if total > most {
            return Err(broken(format!("unfolds to more than {} MiB", most >> 20)));
        }
        let place = Place::row(file, number);
        let record = match record {
            _ if length > LONGEST_ROW => {
                Err(Error::LongRow { place: place.clone(), limit: LONGEST_ROW >> 20 })
            }
            Ok(record) => Ok(record),
            Err(Fault::Utf8(byte)) => Err(Error::Utf8 { place: place.clone(), byte }),
            Err(Fault::Field { field, found }) => Err(Error::Field {
                place: place.clone(),
                field,
                found,
                expected: "text, a number, a list or a record",
            }),
            Err(fault) => return Err(faulty(fault)),
        };
        visit(place, record)?;
    }
    Ok(())
}

fn explained(file: &Arc<Path>, fault: Fault) -> Error {
    let file = file.to_path_buf();
    match fault {
        Fault::Column { column, found, text } => {
            let kinds = "text, a number, true/false, or a list of such records";
            Error::Column { file, column, found, expected: if text { "text" } else { kinds } }
        }
        Fault::Broken(message) => Error::Parquet { file, message },
        Fault::Utf8(byte) => {
            Error::Parquet { file, message: format!("holds a text that is no UTF-8 (byte {byte})") }
        }
        Fault::Field { field, found } => {
            Error::Parquet { file, message: format!("holds {found} in `{field}`") }
        }
    }
}

/// An opened file, wherever it is decoded.
struct Source {
    unread: BTreeSet<String>,
    decoder: Decoder,
    batch: Batch,
}

enum Decoder {
    Here(Box<Table>),
    Apart(Worker, Arc<Content>),
}

impl Source {
    fn open(content: &Arc<Content>) -> std::result::Result<Self, Fault> {
        let memory = MEMORY + 2 * content.length().min(MEMORY / 4);
        let budget = Budget::reading(memory, TIME, memory);
        if let Some(mut worker) = Worker::start(JOB, budget).map_err(unreadable)? {
            let length = content.length().to_le_bytes();
            let unread = answer::<Opened>(&mut worker, content, &length)??;
            let decoder = Decoder::Apart(worker, Arc::clone(content));
            return Ok(Self { unread, decoder, batch: Batch::default() });
        }
        let pieces = Arc::clone(content);
        let mut table = Table::open(pieces)?;
        let unread = std::mem::take(&mut table.unread);
        let decoder = Decoder::Here(Box::new(table));
        Ok(Self { unread, decoder, batch: Batch::default() })
    }

    /// The next row and its length as JSON.
    fn next(&mut self) -> std::result::Result<Option<(Record, usize)>, Fault> {
        loop {
            if let Some(record) = self.batch.rows.pop_front() {
                let length = length(&record);
                return Ok(Some((record, length)));
            }
            if let Some(fault) = self.batch.fault.take() {
                return Err(fault);
            }
            if self.batch.ended {
                return Ok(None);
            }
            self.batch = match &mut self.decoder {
                Decoder::Here(table) => batch(table),
                Decoder::Apart(worker, content) => answer(worker, content, b"")?,
            };
        }
    }
}

fn unreadable(end: End) -> Fault {
    Fault::Broken(end.to_string())
}

/// What a worker answers, which gets the pieces that it asks for until it does.
fn answer<T: for<'a> Deserialize<'a>>(
    worker: &mut Worker,
    content: &Content,
    question: &[u8],
) -> std::result::Result<T, Fault> {
    let (begun, mut question) = (Instant::now(), Bytes::copy_from_slice(question));
    loop {
        let left = TIME.saturating_sub(begun.elapsed());
        let answer = worker.ask_within(&question, left, 2 * MEMORY).map_err(|end| match end {
            End::Time(_) => unreadable(End::Time(TIME)),
            end => unreadable(end),
        })?;
        question = match answer.split_first() {
            Some((&ANSWER, answer)) => return serde_json::from_slice(answer).map_err(unanswered),
            Some((&PIECE, piece)) => {
                let (at, length) = serde_json::from_slice(piece).map_err(unanswered)?;
                content.asked(at, length).map_err(|error| Fault::Broken(error.to_string()))?
            }
            _ => return Err(unanswered("nothing was said")),
        };
    }
}

fn unanswered(why: impl fmt::Display) -> Fault {
    Fault::Broken(format!("isn't answered ({why})"))
}

#[cfg(test)]
#[path = "parquet_file/tests.rs"]
mod tests;
