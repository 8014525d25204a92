//! Training rows to samples while their files are read: of a row nothing stays but its tokens, unless somebody asks
//! for its text; and of these what memory has no room for goes to a file.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use host_model::{ChatTokenizer, TemplateInputs, ThoughtUse, Unlike};
use rayon::prelude::*;

use super::config::DataConfig;
use super::encode::{Encoded, encode_row};
use super::error::{Error, Place, Result};
use super::notices::{Notices, Read};
use super::origin::Origin;
use super::rendered::{self, Unfaithful};
use super::rows::{self, Row};
use super::sample::Sample;
use super::samples::{Room, Samples, Stored};
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
pub(super) enum Coded {
    Made { stored: Stored, told: Option<Arc<Told>> },
    Refused(Arc<RefusedRow>),
}

/// What there is to tell of a row.
pub(super) struct Told {
    pub place: Place,
    pub unfaithful: Unfaithful,
    pub thoughts: ThoughtUse,
    pub unlike: Option<Unlike>,
}

pub(super) struct RefusedRow {
    pub place: Place,
    pub error: Arc<Error>,
}

impl Mixable for Coded {
    fn set_origin(&mut self, origin: Origin) {
        if let Self::Made { stored, .. } = self {
            stored.set_origin(origin);
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
) -> Result<(Encoded<Samples>, Notices)> {
    let bad = config.bad_rows();
    let mut room = Room::new(config.memory());
    let Read { rows, mut notices } = source::read_with(sources, seed, |input| {
        let mut queue = Queue::new(tokenizer, texts, &mut room);
        let notices = rows::each_training_row(input, &bad, &mut |row| queue.push(row))?;
        Ok((queue.end()?, notices))
    })?;
    let encoded = gather(rows, room, config, tokenizer, &mut notices)?;
    Ok((encoded, notices))
}

/// As [`read_samples`], of rows that were read and mixed.
#[cfg(test)]
pub(super) fn encode_training(
    rows: &[Row],
    config: &DataConfig,
    tokenizer: &ChatTokenizer,
    notices: &mut Notices,
) -> Result<Encoded<Samples>> {
    let mut room = Room::new(config.memory());
    let mut queue = Queue::new(tokenizer, Texts::Kept, &mut room);
    rows.iter().try_for_each(|row| queue.push(row.clone()))?;
    let coded = queue.end()?;
    gather(coded, room, config, tokenizer, notices)
}

/// Rows that wait to be encoded, and what became of those before.
pub(super) struct Queue<'t> {
    tokenizer: &'t ChatTokenizer,
    texts: Texts,
    room: &'t mut Room,
    rows: Vec<Row>,
    bytes: usize,
    coded: Vec<Coded>,
}

impl<'t> Queue<'t> {
    pub fn new(tokenizer: &'t ChatTokenizer, texts: Texts, room: &'t mut Room) -> Self {
        Self { tokenizer, texts, room, rows: Vec::new(), bytes: 0, coded: Vec::new() }
    }

    pub fn push(&mut self, row: Row) -> Result<()> {
        self.bytes += row.messages.iter().map(|message| message.content.len()).sum::<usize>();
        self.rows.push(row);
        if self.rows.len() >= ROWS || self.bytes >= BYTES {
            self.encode()?;
        }
        Ok(())
    }

    fn encode(&mut self) -> Result<()> {
        let (tokenizer, texts) = (self.tokenizer, self.texts);
        let made = std::mem::take(&mut self.rows).into_par_iter().map(|row| {
            made(&row, tokenizer, texts)
                .map_err(|error| RefusedRow { place: row.place, error: error.into() })
        });
        for made in made.collect::<Vec<_>>() {
            self.coded.push(match made {
                Ok((sample, told)) => {
                    Coded::Made { stored: self.room.keep(sample)?, told: told.map(Arc::new) }
                }
                Err(refused) => Coded::Refused(refused.into()),
            });
        }
        self.bytes = 0;
        self.room.settle()
    }

    pub fn end(mut self) -> Result<Vec<Coded>> {
        self.encode()?;
        Ok(self.coded)
    }
}

/// What becomes of a row, and what there is to tell of it.
fn made(row: &Row, tokenizer: &ChatTokenizer, texts: Texts) -> Result<(Sample, Option<Told>)> {
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
        static NONE: LazyLock<Arc<TemplateInputs>> = LazyLock::new(Arc::default);
        (sample.messages, sample.inputs) = (Arc::default(), Arc::clone(&NONE));
    }
    let (thoughts, unlike) = more.into_inner();
    let told = Told { place: row.place.clone(), unfaithful, thoughts, unlike };
    Ok((sample, Some(told).filter(|told| !told.is_empty())))
}

impl Told {
    fn is_empty(&self) -> bool {
        let Self { unfaithful, thoughts, unlike, .. } = self;
        unfaithful.is_empty() && *thoughts == ThoughtUse::default() && unlike.is_none()
    }
}

fn gather(
    rows: Vec<Coded>,
    room: Room,
    config: &DataConfig,
    tokenizer: &ChatTokenizer,
    notices: &mut Notices,
) -> Result<Encoded<Samples>> {
    let bad = config.bad_rows();
    // What is wrong with every row is no fault of a row: leaving it out can't help.
    let any_good = rows.iter().any(|row| matches!(row, Coded::Made { .. }));
    let mut encoded = Encoded::new(Samples::of(room), config.max_tokens);
    // A row may stand more than once in a mix.
    let mut seen = HashSet::new();
    let mut is_first = |place: &Place| seen.insert((place.file.clone(), place.number));
    let count = rows.len();
    for row in rows {
        match row {
            Coded::Made { stored, told } => {
                if let Some(told) = told {
                    let Told { place, unfaithful, thoughts, unlike } = &*told;
                    if is_first(place) {
                        let mut unfaithful = unfaithful.clone();
                        // Counted by answers.
                        unfaithful.left_out.remove(rendered::LAST_THOUGHT);
                        let of_file = notices.of(&place.file);
                        of_file.unfaithful(unfaithful);
                        of_file.thoughts += thoughts.given;
                        of_file.thoughts_left_out += thoughts.left_out;
                    }
                    encoded.thoughts += *thoughts;
                    encoded.unlike += usize::from(unlike.is_some());
                    if encoded.first_unlike.is_none() {
                        encoded.first_unlike.clone_from(unlike);
                    }
                }
                encoded.take_stored(stored, config.overlong)?;
            }
            Coded::Refused(row) if !any_good => return Err(alone(row)),
            Coded::Refused(row) => {
                let place = row.place.clone();
                if is_first(&place) {
                    notices.of(&place.file).skip(&bad, &place, alone(row))?;
                }
            }
        }
    }
    notices.check(&bad)?;
    notices.check_variables(tokenizer)?;
    encoded.need_rows(count)
}

/// The error itself, unless another row of the mix is the same one.
fn alone(row: Arc<RefusedRow>) -> Error {
    let error = match Arc::try_unwrap(row) {
        Ok(row) => row.error,
        Err(row) => Arc::clone(&row.error),
    };
    Arc::try_unwrap(error).unwrap_or_else(Error::Shared)
}
