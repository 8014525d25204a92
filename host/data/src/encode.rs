//! Rows to token sequences, and what becomes of the over-long ones.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use host_model::{Chat, ChatTokenizer, ThoughtUse, Unlike};
use rayon::prelude::*;

use super::error::{Error, Place, Result};
use super::overlong::Overlong;
use super::rows::Row;
use super::sample::Sample;
use super::samples::{Samples, Stored};

/// Tokenised rows and what was lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded<S = Vec<Sample>> {
    pub samples: S,
    /// Their number, and that of their answers.
    kept: usize,
    answers: usize,
    pub dropped: usize,
    pub cut: usize,
    /// The first row that was too long, with its number of tokens.
    pub first: Option<(Place, usize)>,
    pub limit: usize,
    /// What became of the thoughts of answers.
    pub thoughts: ThoughtUse,
    /// Rows whose last answer begins otherwise than the prompt that asks for it ends.
    pub unlike: usize,
    /// How the first of them does.
    pub first_unlike: Option<Unlike>,
}

impl<S> Encoded<S> {
    /// Lines about answers that are learned without the thinking that they are asked for.
    pub fn about_thoughts(&self) -> Vec<String> {
        let ThoughtUse { emptied, earlier, .. } = self.thoughts;
        let answers = self.answers;
        let empty = format!(
            "the chat template's prompt begins a thought, and {emptied} of {answers} answers have \
             none (reasoning_content): they are learned behind an empty one"
        );
        let within = format!(
            "{earlier} of {answers} answers, within conversations, are learned as the chat \
             template writes them: without the thinking that its prompt asks for"
        );
        let told = [(emptied > 0, empty), (earlier > 0, within)];
        let told = told.into_iter().filter_map(|(is_so, line)| is_so.then_some(line));
        told.chain(self.about_beginnings()).collect()
    }

    fn about_beginnings(&self) -> Option<String> {
        let Unlike { asked, learned, switch } = self.first_unlike.as_ref()?;
        let (rows, of) = (self.unlike, self.kept + self.dropped);
        let instead = "give a template where they are the same with --chat-template FILE";
        let remedy = switch.map_or_else(
            || instead.to_owned(),
            |name| format!("set model.template_arguments.{name} to false, or {instead}"),
        );
        Some(format!(
            "in {rows} of {of} rows the answer is learned behind another beginning than the model is asked with: \
             the chat template marks {learned:?} to be learned, but its prompt ends in {asked:?}; {remedy}"
        ))
    }

    /// One line about the over-long rows, if there were any.
    pub fn warning(&self) -> Option<String> {
        let (place, tokens) = self.first.as_ref()?;
        let rows = self.kept + self.dropped;
        let what = match (self.dropped, self.cut) {
            (dropped, 0) => format!("dropped {dropped} of {rows} rows"),
            (0, cut) => format!("cut the answer of {cut} of {rows} rows"),
            (dropped, cut) => {
                format!("cut the answer of {cut} and dropped {dropped} of {rows} rows")
            }
        };
        let limit = self.limit;
        Some(format!("{what} with more than {limit} tokens (the first is {place} with {tokens})"))
    }
}

/// [`encode_rows`] by a model's chat template and tokenizer.
pub fn encode_chats(
    rows: &[Row],
    limit: usize,
    overlong: Overlong,
    tokenizer: &ChatTokenizer,
) -> Result<Encoded> {
    encode_rows(rows, limit, overlong, |chat| {
        tokenizer.encode_chat(chat).map(|chat| (chat.tokens, chat.answer))
    })
}

/// Tokenises rows. `encode` renders a conversation to its tokens and the token
/// ranges of its answers; rows are encoded in parallel and keep their order.
///
/// # Errors
/// [`Error::Encode`] if `encode` fails or finds no answer behind a prompt,
/// [`Error::TooLong`] under [`Overlong::Error`], [`Error::AllTooLong`] if nothing
/// is left.
pub fn encode_rows<E: Display + Send>(
    rows: &[Row],
    limit: usize,
    overlong: Overlong,
    encode: impl Fn(Chat<'_>) -> std::result::Result<(Vec<u32>, Vec<Range<usize>>), E> + Sync,
) -> Result<Encoded> {
    let samples: Vec<Result<Sample>> =
        rows.par_iter().map(|row| encode_row(row, &encode)).collect();
    let mut encoded = Encoded::new(Vec::new(), limit);
    for sample in samples {
        encoded.take(sample?, overlong)?;
    }
    encoded.need_rows(rows.len())
}

impl<S> Encoded<S> {
    pub(super) fn new(samples: S, limit: usize) -> Self {
        Self {
            samples,
            kept: 0,
            answers: 0,
            dropped: 0,
            cut: 0,
            first: None,
            limit,
            thoughts: ThoughtUse::default(),
            unlike: 0,
            first_unlike: None,
        }
    }

    /// An error if all of `rows` rows were too long.
    pub(super) fn need_rows(self, rows: usize) -> Result<Self> {
        match &self.first {
            Some((place, tokens)) if self.kept == 0 => Err(Error::AllTooLong {
                rows,
                place: place.clone(),
                tokens: *tokens,
                limit: self.limit,
            }),
            _ => Ok(self),
        }
    }

    /// Whether a sample is kept; it is cut if it has to be.
    fn fitting(&mut self, sample: &mut Sample, overlong: Overlong) -> Result<bool> {
        let (tokens, limit) = (sample.tokens.len(), self.limit);
        if tokens > limit {
            if overlong == Overlong::Error {
                return Err(Error::TooLong {
                    place: sample.place.clone(),
                    tokens,
                    prompt: sample.prompt_len,
                    limit,
                });
            }
            self.first.get_or_insert_with(|| (sample.place.clone(), tokens));
            if overlong == Overlong::Drop || sample.prompt_len >= limit {
                self.dropped += 1;
                return Ok(false);
            }
            sample.cut(limit);
            self.cut += 1;
        }
        self.count(sample.answer.len());
        Ok(true)
    }

    fn count(&mut self, answers: usize) {
        self.kept += 1;
        self.answers += answers;
    }
}

impl Encoded {
    fn take(&mut self, mut sample: Sample, overlong: Overlong) -> Result<()> {
        if self.fitting(&mut sample, overlong)? {
            self.samples.push(sample);
        }
        Ok(())
    }
}

impl Encoded<Samples> {
    pub(super) fn take_stored(&mut self, stored: Stored, overlong: Overlong) -> Result<()> {
        if stored.tokens() <= self.limit {
            self.count(stored.answers());
            self.samples.push(stored);
            return Ok(());
        }
        let mut sample = self.samples.read(&stored)?.into_owned();
        if self.fitting(&mut sample, overlong)? {
            self.samples.push_cut(&stored, sample);
        }
        Ok(())
    }
}

/// The sample of a row; see [`encode_rows`].
pub(super) fn encode_row<E: Display>(
    row: &Row,
    encode: impl Fn(Chat<'_>) -> std::result::Result<(Vec<u32>, Vec<Range<usize>>), E>,
) -> Result<Sample> {
    let wrong = |message: String| Error::Encode { place: row.place.clone(), message };
    let (tokens, answer) = encode(row.chat()).map_err(|error| wrong(error.to_string()))?;
    let prompt_len = answer.first().map_or(0, |first| first.start);
    let mut end = 0;
    for range in &answer {
        if range.start < end || range.is_empty() {
            return Err(wrong(
                "the chat template leaves an answer without tokens; check the template".into(),
            ));
        }
        end = range.end;
    }
    if prompt_len == 0 || end > tokens.len() {
        return Err(wrong(
            "the chat template renders no prompt before the answer; check the template".into(),
        ));
    }
    Ok(Sample {
        id: row.id,
        origin: row.origin,
        messages: row.messages.as_slice().into(),
        inputs: Arc::clone(&row.inputs),
        tokens,
        answer,
        prompt_len,
        place: row.place.clone(),
    })
}

/// A sample as text, indented, what is learned between `⟦` and `⟧`. `decode` must
/// keep special tokens, so that the reader sees what the model sees.
pub fn show_example(sample: &Sample, decode: impl Fn(&[u32]) -> String) -> String {
    let mut text = String::new();
    let mut at = 0;
    for answer in &sample.answer {
        text.push_str(&decode(&sample.tokens[at..answer.start]));
        text.push('⟦');
        text.push_str(&decode(&sample.tokens[answer.clone()]));
        text.push('⟧');
        at = answer.end;
    }
    text.push_str(&decode(&sample.tokens[at..]));
    let head = format!(
        "{}: {} prompt tokens, {} answer tokens; only ⟦this⟧ is learned",
        sample.place,
        sample.prompt_len,
        sample.answer_tokens()
    );
    let body = text.trim_end().lines().map(|line| format!("\n  {line}"));
    std::iter::once(head).chain(body).collect()
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
