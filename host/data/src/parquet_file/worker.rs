//! The worker's side of [`JOB`](super::JOB): the first question is the length of the file, every other one asks for a
//! batch or is a piece of the file. The file is decoded on a thread of its own, which waits where it needs a piece.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use host_files::apart;
use serde::{Deserialize, Serialize};

use super::decode::{Fault, Record, Table};
use crate::pieces::Pieces;

/// First bytes of what a worker says: what it was asked for, or that it needs a piece (its place and length).
pub const ANSWER: u8 = b'a';
pub const PIECE: u8 = b'p';
const BATCH: usize = 4 << 20;

/// As the first thread has.
const STACK: usize = 8 << 20;

/// Rows, and what comes behind them.
#[derive(Default, Serialize, Deserialize)]
pub struct Batch {
    pub rows: VecDeque<Record>,
    pub ended: bool,
    pub fault: Option<Fault>,
}

/// Answers what is asked about a file.
///
/// # Errors
/// As [`apart::serve`].
pub fn serve(arguments: &[OsString]) -> io::Result<()> {
    let mut decoder = None;
    apart::serve(arguments, |question| {
        let (questions, answers) = match &mut decoder {
            Some(decoder) => {
                let (questions, answers): &mut (Sender<Bytes>, Receiver<Vec<u8>>) = decoder;
                // Where nobody listens, there is no answer either.
                let _ = questions.send(Bytes::copy_from_slice(question));
                return answers.recv().unwrap_or_default();
            }
            None => (channel(), channel()),
        };
        let length = question.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let asked = Asked { length, to: answers.0, from: Mutex::new(questions.1) };
        let started = thread::Builder::new().stack_size(STACK).spawn(move || decode(asked));
        started.expect("a thread");
        let (_, answers) = decoder.insert((questions.0, answers.1));
        answers.recv().unwrap_or_default()
    })
}

/// Ends when nobody asks any more.
fn decode(asked: Asked) {
    let asked = Arc::new(asked);
    let pieces = Arc::clone(&asked);
    let mut table = None;
    let opened = Table::open(pieces).map(|mut opened| {
        let unread = std::mem::take(&mut opened.unread);
        table = Some(opened);
        unread
    });
    let mut said = asked.say(ANSWER, &opened);
    while let (Ok(()), Some(table)) = (said, &mut table) {
        said = asked.next().and_then(|_| asked.say(ANSWER, &batch(table)));
    }
}

/// The file as its pieces are asked for.
struct Asked {
    length: u64,
    to: Sender<Vec<u8>>,
    from: Mutex<Receiver<Bytes>>,
}

impl Asked {
    fn say(&self, what: u8, answer: &impl Serialize) -> io::Result<()> {
        let mut said = vec![what];
        serde_json::to_writer(&mut said, answer)?;
        self.to.send(said).map_err(io::Error::other)
    }

    fn next(&self) -> io::Result<Bytes> {
        let from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        from.recv().map_err(io::Error::other)
    }
}

impl Pieces for Asked {
    fn length(&self) -> u64 {
        self.length
    }

    fn piece(&self, at: u64, length: usize) -> io::Result<Bytes> {
        self.say(PIECE, &(at, length))?;
        let piece = self.next()?;
        if piece.len() == length { Ok(piece) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Rows up to a few megabytes.
pub fn batch(table: &mut Table) -> Batch {
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
pub fn length(record: &Record) -> usize {
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
