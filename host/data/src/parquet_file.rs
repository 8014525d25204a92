//! Records from Parquet. Columns whose type no row can hold are left out and told.
//!
//! A kilobyte can unfold to gigabytes, in one row or in many: the file is decoded in a process with a limit on memory,
//! and what comes out of it is counted.

mod decode;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use host_files::apart::{self, Budget, End, Worker};
use serde::{Deserialize, Serialize};

use super::error::{Error, Place, Result};
use super::json::LONGEST_ROW;
use super::visit::Visit;
use decode::{Fault, Record, Table};

/// Name of the job, as a worker is started with it.
pub const JOB: &str = "parquet";
/// Beside the file itself.
const MEMORY: u64 = 2 << 30;
/// For one batch.
const TIME: Duration = Duration::from_secs(60);
const BATCH: usize = 4 << 20;
/// Text may be stored once for many rows. More than this many times the file isn't data.
const UNFOLDED: u64 = 256;
const LITTLE: u64 = 256 << 20;

/// Rows, and what comes behind them.
#[derive(Default, Serialize, Deserialize)]
struct Batch {
    rows: VecDeque<Record>,
    ended: bool,
    fault: Option<Fault>,
}

type Opened = std::result::Result<BTreeSet<String>, Fault>;

/// Calls `visit` for every row of a Parquet file. Adds the columns that can't be read to
/// `unread`.
pub(super) fn rows(
    file: &Arc<Path>,
    bytes: Vec<u8>,
    unread: &mut BTreeSet<String>,
    visit: Visit<'_>,
) -> Result<()> {
    let most = LITTLE + UNFOLDED * bytes.len() as u64;
    let broken = |message: String| Error::Parquet { file: file.to_path_buf(), message };
    let faulty = |fault: Fault| explained(file, fault);
    let mut source = Source::open(bytes).map_err(faulty)?;
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
    Apart(Worker),
}

impl Source {
    fn open(bytes: Vec<u8>) -> std::result::Result<Self, Fault> {
        let memory = MEMORY + 2 * bytes.len() as u64;
        let budget = Budget::reading(memory, TIME, memory);
        if let Some(mut worker) = Worker::start(JOB, budget).map_err(unreadable)? {
            let unread = answer::<Opened>(&mut worker, &bytes)??;
            let decoder = Decoder::Apart(worker);
            return Ok(Self { unread, decoder, batch: Batch::default() });
        }
        let mut table = Table::open(bytes)?;
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
                Decoder::Apart(worker) => answer(worker, b"")?,
            };
        }
    }
}

fn unreadable(end: End) -> Fault {
    Fault::Broken(end.to_string())
}

fn answer<T: for<'a> Deserialize<'a>>(
    worker: &mut Worker,
    question: &[u8],
) -> std::result::Result<T, Fault> {
    let answer = worker.ask(question).map_err(unreadable)?;
    serde_json::from_slice(&answer)
        .map_err(|error| Fault::Broken(format!("isn't answered ({error})")))
}

/// Rows up to a few megabytes.
fn batch(table: &mut Table) -> Batch {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    while bytes < BATCH {
        match table.next() {
            Ok(Some(row)) => {
                bytes += 64 + length(&row);
                batch.rows.push_back(row);
            }
            Ok(None) => {
                batch.ended = true;
                break;
            }
            Err(fault) => {
                batch.fault = Some(fault);
                break;
            }
        }
    }
    batch
}

/// What a row takes as JSON, about.
fn length(record: &Record) -> usize {
    fn of(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::String(text) => 2 + text.len(),
            serde_json::Value::Array(list) => 2 + list.iter().map(|it| 1 + of(it)).sum::<usize>(),
            serde_json::Value::Object(map) => {
                2 + map.iter().map(|(key, it)| 4 + key.len() + of(it)).sum::<usize>()
            }
            _ => 8,
        }
    }
    let whole = |map: &serde_json::Map<_, _>| map.values().map(|value| 8 + of(value)).sum();
    record.as_ref().map_or(0, whole)
}

/// The worker's side of [`JOB`]: the first question is the file, every other one asks for a batch.
///
/// # Errors
/// As [`apart::serve`].
pub fn serve(arguments: &[OsString]) -> std::io::Result<()> {
    let mut table = None;
    apart::serve(arguments, |question| {
        let answer = match &mut table {
            None => json(&Table::open(question.to_vec()).map(|mut opened| {
                let unread = std::mem::take(&mut opened.unread);
                table = Some(opened);
                unread
            })),
            Some(table) => json(&batch(table)),
        };
        answer.unwrap_or_default()
    })
}

fn json(answer: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(answer)
}
