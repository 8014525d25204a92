//! What a person should know of the data that were read: keys that nobody reads and rows
//! that were left out. Readers return it; a run prints it once and keeps it in its report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use host_model::ChatTokenizer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{Error, Place, Result};
use super::format::Format;
use super::packed::Packing;
use super::rendered::Unfaithful;
use super::{switches, turn};

/// What becomes of a row that can't be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// Refuse the file.
    #[default]
    Error,
    /// Leave the row out and count it.
    Skip,
}

/// How rows that can't be used are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BadRows {
    pub on_bad_row: OnBadRow,
    /// Largest share of a file's rows that may be left out, rounded up to whole rows.
    pub limit: f64,
}

/// Of all files that were read, in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Notices(Vec<FileNotices>);

/// Of one file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileNotices {
    pub file: String,
    /// All rows of the file.
    pub rows: usize,
    /// What it was read as, where its name doesn't say so and its first line had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guessed: Option<String>,
    /// Keys that nobody reads, with the number of rows that have them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ignored: BTreeMap<String, usize>,
    /// What the rows say and the chat template leaves out, with the number of rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_rendered: BTreeMap<String, usize>,
    /// Thoughts of answers that rows have, where the chat template leaves some out.
    #[serde(default, skip_serializing_if = "is_none")]
    pub thoughts: usize,
    /// How many of them it leaves out.
    #[serde(default, skip_serializing_if = "is_none")]
    pub thoughts_left_out: usize,
    /// Rows of which the chat template changes what an answer says.
    #[serde(default, skip_serializing_if = "is_none")]
    pub changed: usize,
    /// Rows that were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
    /// What was read, once all of it was.
    #[serde(skip)]
    pub content: Option<Content>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Content {
    pub format: Format,
    pub packing: Option<Packing>,
    /// Of its rows, by their keys.
    pub shape: String,
    /// On the disk.
    pub bytes: u64,
    pub sha256: String,
}

/// Rows that were left out because they can't be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    pub rows: usize,
    /// The lines (of Parquet the numbers) of the first.
    pub first: Vec<usize>,
    /// What is wrong with the first.
    pub why: String,
    /// And with each of those that are named.
    #[serde(skip)]
    pub reasons: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_none(rows: &usize) -> bool {
    *rows == 0
}

/// Most different keys that are counted in a file.
const MOST_KEYS: usize = 1000;
/// Most keys that are named on a line.
const MOST_NAMED: usize = 12;
/// Rows that were left out and are named.
const FIRST_ROWS: usize = 10;

impl FileNotices {
    pub(super) fn of(file: &Path) -> Self {
        Self { file: file.display().to_string(), ..Self::default() }
    }

    /// Counts the keys of a row that nobody read.
    pub(super) fn ignore(&mut self, keys: BTreeSet<String>) {
        for key in keys {
            if self.ignored.len() < MOST_KEYS || self.ignored.contains_key(&key) {
                *self.ignored.entry(key).or_default() += 1;
            }
        }
    }

    /// Counts what the template left out of a row or changed.
    pub(super) fn unfaithful(&mut self, what: Unfaithful) {
        self.changed += usize::from(what.changed);
        for one in what.left_out {
            if self.not_rendered.len() < MOST_KEYS || self.not_rendered.contains_key(&one) {
                *self.not_rendered.entry(one).or_default() += 1;
            }
        }
    }

    /// Leaves a row out, if `bad` allows it.
    pub(super) fn skip(&mut self, bad: &BadRows, place: &Place, error: Error) -> Result<()> {
        let left_out = self.skipped.as_ref().map_or(0, |skipped| skipped.rows);
        if bad.on_bad_row == OnBadRow::Error {
            // Worth a hint only where other rows are good.
            return Err(if self.rows > left_out + 1 { Error::BadRow(error.into()) } else { error });
        }
        let skipped = self.skipped.get_or_insert_with(|| Skipped {
            rows: 0,
            first: Vec::new(),
            why: error.to_string(),
            reasons: Vec::new(),
        });
        skipped.rows += 1;
        if skipped.first.len() < FIRST_ROWS {
            skipped.first.push(place.number);
            skipped.reasons.push(error.to_string());
        }
        Ok(())
    }

    /// Refuses a file of which more rows were left out than `bad` allows.
    pub(super) fn check(&self, bad: &BadRows) -> Result<()> {
        let Some(skipped) = &self.skipped else {
            return Ok(());
        };
        let allowed = (bad.limit * self.rows as f64).ceil() as usize;
        if skipped.rows <= allowed && skipped.rows < self.rows {
            return Ok(());
        }
        Err(Error::TooManyBad {
            file: self.file.clone().into(),
            bad: skipped.rows,
            rows: self.rows,
            limit: bad.limit,
            allowed: allowed.min(self.rows.saturating_sub(1)),
            first: skipped.why.clone(),
        })
    }

    fn is_empty(&self) -> bool {
        self.ignored.is_empty()
            && self.guessed.is_none()
            && self.not_rendered.is_empty()
            && self.thoughts_left_out == 0
            && self.changed == 0
            && self.skipped.is_none()
    }

    fn lines(&self) -> Vec<String> {
        let (file, rows) = (&self.file, self.rows);
        let mut lines = Vec::new();
        let counted = |keys: &BTreeMap<String, usize>| {
            let named = keys.iter().take(MOST_NAMED);
            let named = named.map(|(key, count)| {
                let meant = meant(key).map(|known| format!(" (did you mean `{known}`?)"));
                format!("`{key}` in {count} of {rows} rows{}", meant.unwrap_or_default())
            });
            let more = keys.len().saturating_sub(MOST_NAMED);
            let more = (more > 0).then(|| format!("{more} more"));
            named.chain(more).collect::<Vec<_>>().join(", ")
        };
        if let Some(format) = &self.guessed {
            lines.push(format!(
                "{file}: read as {format}, because the names in its first line make a row so; call it .csv with \
                 commas or .tsv with tabs to say so"
            ));
        }
        if !self.ignored.is_empty() {
            lines.push(format!("{file}: ignored: {}", counted(&self.ignored)));
        }
        if !self.not_rendered.is_empty() {
            let counted = counted(&self.not_rendered);
            lines.push(format!("{file}: the chat template leaves out {counted}"));
        }
        if self.thoughts_left_out > 0 {
            let (lost, thoughts) = (self.thoughts_left_out, self.thoughts);
            lines.push(format!(
                "{file}: the chat template leaves out {lost} of {thoughts} thoughts of answers \
                 (`reasoning_content`, or at the beginning of the content): these answers are learned without"
            ));
        }
        if self.changed > 0 {
            let changed = self.changed;
            lines.push(format!(
                "{file}: the chat template changes the text of answers in {changed} of {rows} rows: the model \
                 sees what it makes of it"
            ));
        }
        if let Some(skipped) = &self.skipped {
            let first: Vec<String> = skipped.first.iter().map(usize::to_string).collect();
            let more = if skipped.rows > first.len() { ", ..." } else { "" };
            let (numbers, count, why) = (first.join(", "), skipped.rows, &skipped.why);
            lines.push(format!(
                "{file}: left out {count} of {rows} rows that can't be used ({numbers}{more}); the \
                 first: {why}"
            ));
        }
        lines
    }
}

/// The key of messages that a path such as `messages[].tools` names, unless it is one of assistants alone, which others
/// may have as well.
fn of_messages(path: &str) -> Option<&str> {
    const OF_ASSISTANTS: &[&str] = &["tool_calls", "function_call", "refusal"];
    let (_, key) = path.split_once("[].")?;
    let is_known = OF_ASSISTANTS.contains(&key) || turn::REASONING_KEYS.contains(&key);
    Some(key).filter(|key| !is_known && !key.contains(['[', '.']))
}

/// The key with a meaning of which an ignored one may be a misspelling.
fn meant(key: &str) -> Option<&'static str> {
    const OTHERS: &[&str] = &[
        "tools",
        "tool_calls",
        "documents",
        "history",
        "context",
        "system",
        "chat_template_kwargs",
    ];
    let plain = |key: &str| key.to_lowercase().replace(['_', '-'], "");
    let (_, key) = key.rsplit_once('.').unwrap_or(("", key));
    let given = plain(key);
    let near = |known: &&&str| {
        let known = plain(known);
        let length = known.len().abs_diff(given.len());
        known == given || (length <= 1 && strsim::jaro_winkler(&known, &given) > 0.92)
    };
    let known = switches::LEARNED.iter().chain(switches::WITHHELD).chain(turn::REASONING_KEYS);
    known.chain(OTHERS).filter(|known| **known != key).find(near).copied()
}

impl Notices {
    /// Adds what was noticed elsewhere. A file that was read twice is told of once.
    pub fn extend(&mut self, other: Self) {
        for one in other.0 {
            self.add(one);
        }
    }

    pub(super) fn add(&mut self, one: FileNotices) {
        let same = |known: &&mut FileNotices| {
            (&known.file, &known.ignored, &known.skipped) == (&one.file, &one.ignored, &one.skipped)
        };
        match self.0.iter_mut().find(same) {
            Some(known) => {
                known.changed = known.changed.max(one.changed);
                known.thoughts = known.thoughts.max(one.thoughts);
                known.thoughts_left_out = known.thoughts_left_out.max(one.thoughts_left_out);
                known.not_rendered.extend(one.not_rendered);
            }
            None => self.0.push(one),
        }
    }

    /// Of a file that was read.
    pub(super) fn of(&mut self, file: &Path) -> &mut FileNotices {
        let name = file.display().to_string();
        let at = self.0.iter().position(|one| one.file == name);
        let at = at.unwrap_or_else(|| {
            self.0.push(FileNotices::of(file));
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    pub(super) fn check(&self, bad: &BadRows) -> Result<()> {
        self.0.iter().try_for_each(|one| one.check(bad))
    }

    /// Refuses keys that nobody read and that the chat template asks for by their names.
    pub(super) fn check_variables(&self, tokenizer: &ChatTokenizer) -> Result<()> {
        for one in &self.0 {
            let file = || one.file.clone().into();
            for key in one.ignored.keys() {
                if tokenizer.template_reads(key) {
                    return Err(Error::TemplateVariable { file: file(), key: key.clone() });
                }
                if let Some(key) = of_messages(key).filter(|key| tokenizer.template_reads_key(key))
                {
                    return Err(Error::TemplateKey { file: file(), key: key.to_owned() });
                }
            }
        }
        Ok(())
    }

    /// SHA-256 of each file that was read, as it was read, by its name.
    pub(super) fn digests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(|one| Some((one.file.as_str(), one.content.as_ref()?.sha256.as_str())))
    }

    /// The files of which there is something to tell.
    pub fn files(&self) -> impl Iterator<Item = &FileNotices> {
        self.0.iter().filter(|one| !one.is_empty())
    }

    /// The same without the files of which there is nothing to tell.
    #[must_use]
    pub fn worth_telling(&self) -> Self {
        Self(self.files().cloned().collect())
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.files().next().is_none()
    }

    /// A line for each thing that a person should know.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.files().flat_map(FileNotices::lines)
    }
}

/// What was read, and what a person should know of it.
#[derive(Clone, Debug)]
pub struct Read<T> {
    pub rows: Vec<T>,
    pub notices: Notices,
}
