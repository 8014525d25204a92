//! Training rows to samples while their files are read: of a row nothing stays but its tokens, unless somebody asks
//! for its text.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use host_model::{ChatTokenizer, ThoughtUse, Unlike};
use rayon::prelude::*;

use super::config::DataConfig;
use super::encode::{Encoded, Sample, encode_row};
use super::error::{Error, Place, Result};
use super::notices::{Notices, Read};
use super::origin::Origin;
use super::rendered::{self, Unfaithful};
use super::rows::{self, Row};
use super::source::{self, DataSource, Mixable};

/// Rows, and bytes of their text, that are encoded at once.
const ROWS: usize = 1024;
const BYTES: usize = 16 << 20;

/// What becomes of the text of rows that are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// For judges, which read it.
    Kept,
    Dropped,
}

/// A row that was encoded, before it is known whether the mix takes it.
#[derive(Clone)]
pub(super) struct Coded {
    pub place: Place,
    pub made: std::result::Result<Made, Arc<Error>>,
}

/// What became of a row.
#[derive(Clone)]
pub(super) struct Made {
    pub sample: Sample,
    pub unfaithful: Unfaithful,
    pub thoughts: ThoughtUse,
    pub unlike: Option<Unlike>,
}

impl Mixable for Coded {
    fn set_origin(&mut self, origin: Origin) {
        if let Ok(made) = &mut self.made {
            made.sample.origin = origin;
        }
    }
}

/// Reads training rows from the sources, encodes them by a model's chat template and tokenizer, and mixes them: rows
/// that can't be used are treated as the configuration says, and what the template leaves out of the rows is among
/// what was noticed of them.
///
/// # Errors
/// As [`read_rows`](crate::read_rows) and [`encode_rows`](crate::encode_rows).
pub fn read_samples(
    sources: &[DataSource],
    seed: u64,
    config: &DataConfig,
    tokenizer: &ChatTokenizer,
    texts: Texts,
) -> Result<(Encoded, Notices)> {
    let bad = config.bad_rows();
    let Read { rows, mut notices } = source::read_with(sources, seed, |input| {
        let mut queue = Queue::new(tokenizer, texts);
        let notices = rows::each_training_row(input, &bad, &mut |row| queue.push(row))?;
        Ok((queue.end(), notices))
    })?;
    let encoded = gather(rows, config, tokenizer, &mut notices)?;
    Ok((encoded, notices))
}

/// As [`read_samples`], of rows that were read and mixed.
#[cfg(test)]
pub(super) fn encode_training(
    rows: &[Row],
    config: &DataConfig,
    tokenizer: &ChatTokenizer,
    notices: &mut Notices,
) -> Result<Encoded> {
    let mut queue = Queue::new(tokenizer, Texts::Kept);
    rows.iter().for_each(|row| queue.push(row.clone()));
    gather(queue.end(), config, tokenizer, notices)
}

/// Rows that wait to be encoded, and what became of those before.
pub(super) struct Queue<'t> {
    tokenizer: &'t ChatTokenizer,
    texts: Texts,
    rows: Vec<Row>,
    bytes: usize,
    coded: Vec<Coded>,
}

impl<'t> Queue<'t> {
    pub fn new(tokenizer: &'t ChatTokenizer, texts: Texts) -> Self {
        Self { tokenizer, texts, rows: Vec::new(), bytes: 0, coded: Vec::new() }
    }

    pub fn push(&mut self, row: Row) {
        self.bytes += row.messages.iter().map(|message| message.content.len()).sum::<usize>();
        self.rows.push(row);
        if self.rows.len() >= ROWS || self.bytes >= BYTES {
            self.encode();
        }
    }

    fn encode(&mut self) {
        let (tokenizer, texts) = (self.tokenizer, self.texts);
        let coded = std::mem::take(&mut self.rows).into_par_iter().map(|row| {
            let made = made(&row, tokenizer, texts).map_err(Arc::new);
            Coded { place: row.place, made }
        });
        self.coded.par_extend(coded);
        self.bytes = 0;
    }

    pub fn end(mut self) -> Vec<Coded> {
        self.encode();
        self.coded
    }
}

fn made(row: &Row, tokenizer: &ChatTokenizer, texts: Texts) -> Result<Made> {
    let unfaithful = rendered::unfaithful(&row.place, row.chat(), tokenizer)?;
    let more = Cell::default();
    let mut sample = encode_row(row, |chat| {
        tokenizer.encode_chat(chat).map(|chat| {
            more.set((chat.thoughts, chat.unlike));
            (chat.tokens, chat.answer)
        })
    })?;
    sample.tokens.shrink_to_fit();
    if texts == Texts::Dropped {
        (sample.messages, sample.inputs) = (Arc::default(), Arc::default());
    }
    let (thoughts, unlike) = more.into_inner();
    Ok(Made { sample, unfaithful, thoughts, unlike })
}

fn gather(
    rows: Vec<Coded>,
    config: &DataConfig,
    tokenizer: &ChatTokenizer,
    notices: &mut Notices,
) -> Result<Encoded> {
    let bad = config.bad_rows();
    // What is wrong with every row is no fault of a row: leaving it out can't help.
    let any_good = rows.iter().any(|row| row.made.is_ok());
    let mut encoded = Encoded::new(config.max_tokens);
    // A row may stand more than once in a mix.
    let mut seen = HashSet::new();
    let count = rows.len();
    for Coded { place, made } in rows {
        let is_first = seen.insert((place.file.clone(), place.number));
        let of_file = notices.of(&place.file);
        match made {
            Ok(Made { sample, mut unfaithful, thoughts, unlike }) => {
                // Counted by answers.
                unfaithful.left_out.remove(rendered::LAST_THOUGHT);
                if is_first {
                    of_file.unfaithful(unfaithful);
                    of_file.thoughts += thoughts.given;
                    of_file.thoughts_left_out += thoughts.left_out;
                }
                encoded.thoughts += thoughts;
                encoded.unlike += usize::from(unlike.is_some());
                encoded.first_unlike = encoded.first_unlike.or(unlike);
                encoded.take(sample, config.overlong)?;
            }
            Err(error) if !any_good => return Err(alone(error)),
            Err(error) if is_first => of_file.skip(&bad, &place, alone(error))?,
            Err(_) => {}
        }
    }
    notices.check(&bad)?;
    notices.check_variables(tokenizer)?;
    encoded.need_rows(count)
}

/// The error itself, unless another row of the mix is the same one.
fn alone(error: Arc<Error>) -> Error {
    Arc::try_unwrap(error).unwrap_or_else(Error::Shared)
}
