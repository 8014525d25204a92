//! What a training would make of data files, without training: their shape, lengths, rows that are left out,
//! duplicates, and whether it would refuse them.

mod page;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_model::{ChatTokenizer, Message};
use serde::Serialize;

use super::config::DataConfig;
use super::encode::show_example;
use super::error::{Error, Result};
use super::hub::{self, Located};
use super::input::Input;
use super::near::Known;
use super::notices::{BadRows, Content, FileNotices, OnBadRow, Skipped};
use super::rows;
use super::samples::{Room, Stored};
use super::source::{self, DataSource};
use super::training::{Coded, Queue, Texts, read_samples};

/// Rows, and bytes of what they ask for, among which near-duplicates are looked for.
const MOST_COMPARED: usize = 200_000;
const MOST_TEXT: usize = 128 << 20;
/// Rows that are named of many.
const FIRST: usize = 10;
/// Every row that can be read is of interest here.
const LENIENT: BadRows = BadRows { on_bad_row: OnBadRow::Skip, limit: 1.0 };

/// What is to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The files, and what a training does with their rows.
    pub config: &'a DataConfig,
    pub seed: u64,
    /// Evaluation sets that no row should be in.
    pub against: &'a [PathBuf],
    /// How many rows of each file are shown as the model sees them.
    pub examples: usize,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Rows with more tokens are over-long.
    pub limit: usize,
    /// Why a training would not begin.
    pub refused: Option<String>,
    pub files: Vec<FileCheck>,
    pub against: Vec<Overlap>,
}

/// One file.
#[derive(Debug, Default, Serialize)]
pub struct FileCheck {
    pub file: String,
    #[serde(flatten)]
    pub content: Option<Content>,
    /// Why none of it can be used.
    pub problem: Option<String>,
    pub rows: usize,
    /// Rows that can be learned, with those that are over-long.
    pub usable: usize,
    pub left_out: Option<LeftOut>,
    /// Keys that nobody reads, with the number of rows that have them.
    pub ignored: BTreeMap<String, usize>,
    /// What the chat template leaves out, with the number of rows.
    pub not_rendered: BTreeMap<String, usize>,
    pub tokens: Option<Lengths>,
    /// Rows that have more tokens than the limit.
    pub over_limit: usize,
    pub answer_tokens: usize,
    /// Of all files' answer tokens, in [0, 1].
    pub share: f64,
    pub duplicates: Duplicates,
    /// The first rows as the model sees them.
    pub examples: Vec<String>,
}

/// Rows that can't be used.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    pub rows: usize,
    /// What is wrong with the first of them.
    pub reasons: Vec<String>,
}

/// Tokens of the rows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lengths {
    pub min: usize,
    pub median: usize,
    pub p95: usize,
    pub max: usize,
}

/// Rows of a file that stand in it before, by their lines.
#[derive(Debug, Default, Serialize)]
pub struct Duplicates {
    /// Rows that are the same in every word.
    pub same: usize,
    /// Others that ask for the same in nearly the same words; nothing where that takes too long to find out.
    pub near: Option<usize>,
    /// The first of both: the earlier line, and the later.
    pub first: Vec<(usize, usize)>,
}

/// Rows of a file that ask for what an evaluation set asks for.
#[derive(Debug, Serialize)]
pub struct Overlap {
    pub file: String,
    pub set: String,
    pub same: usize,
    pub near: usize,
    /// The first of both: the line of the row, and that of the prompt.
    pub first: Vec<(usize, usize)>,
}

/// What the rows of a file ask for, with their lines, unless that is too much to be compared.
#[derive(Default)]
struct Asked {
    rows: Vec<(usize, String)>,
    bytes: usize,
    is_too_much: bool,
}

impl Asked {
    fn add(&mut self, number: usize, text: String) {
        self.bytes += text.len();
        self.is_too_much |= self.rows.len() == MOST_COMPARED || self.bytes > MOST_TEXT;
        if self.is_too_much {
            self.rows = Vec::new();
        } else {
            self.rows.push((number, text));
        }
    }
}

/// Reads the files as a training does, and looks at what comes of them.
///
/// # Errors
/// If an evaluation set can't be read, or a data set of the Hub can't be fetched. What is wrong with the files is no
/// error, but found.
pub fn check(question: &Question<'_>, tokenizer: &ChatTokenizer) -> Result<Check> {
    let Question { config, seed, against, examples } = *question;
    let sets = against.iter().map(|path| evaluation_set(path, seed)).collect::<Result<Vec<_>>>()?;
    let (mut files, mut overlaps) = (Vec::new(), Vec::new());
    for source in config.sources() {
        for at in hub::locate(&source.path)? {
            let mut overlap: Vec<Overlap> =
                sets.iter().map(|set| Overlap::new(&at.name, set)).collect();
            let look = |number: usize, text: &str| {
                overlap.iter_mut().zip(&sets).for_each(|(one, set)| one.look(set, number, text));
            };
            files.push(one_file(&at, config, examples, tokenizer, look)?);
            overlaps.extend(overlap);
        }
    }
    let all: usize = files.iter().map(|file| file.answer_tokens).sum();
    for file in &mut files {
        file.share = file.answer_tokens as f64 / all.max(1) as f64;
    }
    let trained = read_samples(&config.sources(), seed, config, tokenizer, Texts::Dropped);
    let refused = trained.err().map(|error| error.to_string());
    Ok(Check { limit: config.max_tokens, refused, files, against: overlaps })
}

/// Looks at a file; `look` sees what each row asks for that isn't the same as one before it.
fn one_file(
    at: &Located,
    config: &DataConfig,
    examples: usize,
    tokenizer: &ChatTokenizer,
    mut look: impl FnMut(usize, &str),
) -> Result<FileCheck> {
    let mut file = FileCheck { file: at.name.display().to_string(), ..FileCheck::default() };
    let (mut asked, mut known) = (Asked::default(), HashMap::new());
    let mut room = Room::new(config.memory());
    let mut queue = Queue::new(tokenizer, Texts::Dropped, &mut room);
    let duplicates = &mut file.duplicates;
    let read = Input::open(at).and_then(|input| {
        rows::each_training_row(input, &LENIENT, &mut |row| {
            let number = row.place.number;
            match known.get(&row.id) {
                None => {
                    known.insert(row.id, number);
                    let text = question(&row.messages);
                    look(number, &text);
                    asked.add(number, text);
                }
                Some(first) => {
                    duplicates.same += 1;
                    duplicates.name(*first, number);
                }
            }
            queue.push(row)
        })
    });
    match read {
        Err(error @ Error::Spill { .. }) => return Err(error),
        Err(error) => file.problem = Some(error.to_string()),
        Ok(notices) => {
            let coded = queue.end()?;
            let example = |stored: &Stored| {
                let sample = room.read(stored)?;
                Ok(show_example(&sample, |tokens| {
                    tokenizer.decode_with_special(tokens).unwrap_or_default()
                }))
            };
            file.fill(notices, coded, config.max_tokens, examples, example)?;
        }
    }
    file.duplicates.find_near(&asked);
    Ok(file)
}

impl FileCheck {
    fn fill(
        &mut self,
        mut notices: FileNotices,
        coded: Vec<Coded>,
        limit: usize,
        examples: usize,
        example: impl Fn(&Stored) -> Result<String>,
    ) -> Result<()> {
        let mut lengths = Vec::new();
        for row in coded {
            match row {
                Coded::Made { stored, told } => {
                    lengths.push(stored.tokens());
                    self.answer_tokens += stored.answer_tokens();
                    self.over_limit += usize::from(stored.tokens() > limit);
                    if self.examples.len() < examples {
                        self.examples.push(example(&stored)?);
                    }
                    if let Some(told) = told {
                        notices.unfaithful(told.unfaithful.clone());
                    }
                }
                // Nothing is refused: all are left out.
                Coded::Refused(row) => {
                    let error = Error::Shared(Arc::clone(&row.error));
                    drop(notices.skip(&LENIENT, &row.place, error));
                }
            }
        }
        self.usable = lengths.len();
        self.tokens = Lengths::of(lengths);
        let left_out = |Skipped { rows, reasons, .. }| LeftOut { rows, reasons };
        self.left_out = notices.skipped.map(left_out);
        self.rows = notices.rows;
        self.content = notices.content;
        (self.ignored, self.not_rendered) = (notices.ignored, notices.not_rendered);
        Ok(())
    }
}

impl Lengths {
    fn of(mut lengths: Vec<usize>) -> Option<Self> {
        lengths.sort_unstable();
        // The least value that this share of all doesn't exceed.
        let rank = |share: f64| (share * lengths.len() as f64).ceil() as usize;
        let at = |share: f64| lengths.get(rank(share).saturating_sub(1)).copied();
        Some(Self { min: at(0.0)?, median: at(0.5)?, p95: at(0.95)?, max: at(1.0)? })
    }
}

impl Duplicates {
    fn name(&mut self, earlier: usize, later: usize) {
        if self.first.len() < FIRST {
            self.first.push((earlier, later));
        }
    }

    /// Looks for them among rows of which none is the same as another.
    fn find_near(&mut self, asked: &Asked) {
        if asked.is_too_much {
            return;
        }
        let asked = &asked.rows;
        let known = Known::of(asked.iter().map(|(_, text)| text.as_str()));
        let Some(pairs) = known.pairs() else { return };
        self.near = Some(pairs.len());
        pairs.into_iter().for_each(|(one, two)| self.name(asked[one].0, asked[two].0));
    }
}

/// An evaluation set, by what it asks for.
struct Set {
    name: String,
    numbers: Vec<usize>,
    texts: HashMap<String, usize>,
    known: Known,
}

fn evaluation_set(path: &Path, seed: u64) -> Result<Set> {
    let read = source::read_prompts(&[DataSource::whole(path)], seed, &BadRows::default())?;
    let texts: Vec<String> = read.rows.iter().map(|prompt| question(&prompt.messages)).collect();
    let known = Known::of(texts.iter().map(String::as_str));
    let numbers: Vec<usize> = read.rows.iter().map(|prompt| prompt.place.number).collect();
    let texts = texts.into_iter().zip(numbers.iter().copied()).rev().collect();
    Ok(Set { name: path.display().to_string(), numbers, texts, known })
}

impl Overlap {
    fn new(file: &Path, set: &Set) -> Self {
        let (file, set) = (file.display().to_string(), set.name.clone());
        Self { file, set, same: 0, near: 0, first: Vec::new() }
    }

    fn look(&mut self, set: &Set, number: usize, text: &str) {
        let prompt = match set.texts.get(text) {
            Some(prompt) => {
                self.same += 1;
                *prompt
            }
            None => match set.known.near(text) {
                Some(at) => {
                    self.near += 1;
                    set.numbers[at]
                }
                None => return,
            },
        };
        if self.first.len() < FIRST {
            self.first.push((number, prompt));
        }
    }
}

/// What a conversation asks for: all that users say in it.
fn question(messages: &[Message]) -> String {
    let asked = messages.iter().filter(|message| message.role == "user");
    let asked: Vec<&str> = asked.map(|message| message.content.trim()).collect();
    asked.join("\n")
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
