//! Records checked and brought into one form: conversations.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use host_model::{Chat, Model, TemplateInputs};
use serde_json::Value;

use super::content::content_id;
use super::conversation::Conversation;
use super::error::{Error, Place, Result};
use super::fields::Fields;
use super::input::Input;
use super::notices::{BadRows, Content, FileNotices, Notices, Read};
use super::origin::{Origin, Split};
use super::shape::{self, Shape};
use super::shown::kind;
use super::{choices, conversation, format, hub, refused};

pub use conversation::Message;

/// A conversation to learn from. The last message is the assistant's, and a user
/// message comes before the first of the assistant.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub messages: Vec<Message>,
    /// What the chat template reads beside the messages.
    pub inputs: Arc<TemplateInputs>,
    /// The [`content_id`]: equal rows have equal ids, in every run and whatever their
    /// file.
    pub id: u64,
    pub origin: Origin,
    pub place: Place,
}

/// A conversation to answer: the last message is the user's.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    pub messages: Vec<Message>,
    /// As [`Row::inputs`].
    pub inputs: Arc<TemplateInputs>,
    /// The expected answer, if the file has one.
    pub answer: Option<Message>,
    /// Of a multiple-choice question; the answer is one of them.
    pub choices: Vec<String>,
    /// The value of the key `label`; see [`Prompt::harmful`].
    pub label: Option<Value>,
    pub split: Option<Split>,
    /// As [`Row::id`], over the messages without the answer.
    pub id: u64,
    pub place: Place,
}

impl Row {
    /// The conversation as a template renders it.
    pub fn chat(&self) -> Chat<'_> {
        Chat { messages: &self.messages, inputs: &self.inputs }
    }
}

impl Prompt {
    /// The conversation as a template renders it, without the answer.
    pub fn chat(&self) -> Chat<'_> {
        Chat { messages: &self.messages, inputs: &self.inputs }
    }

    /// The conversation with its answer, if there is one.
    pub fn row(&self) -> Option<Row> {
        let answer = self.answer.clone()?;
        Some(Row {
            messages: self.messages.iter().cloned().chain([answer]).collect(),
            inputs: self.inputs.clone(),
            id: self.id,
            origin: Origin::Task,
            place: self.place.clone(),
        })
    }

    /// The text of the expected answer.
    pub fn expected(&self) -> Option<&str> {
        self.answer.as_ref().map(|answer| answer.content.as_str())
    }

    /// # Errors
    /// [`Error::TooLongForModel`] if that many tokens, of the prompt and what follows it, don't fit
    /// into the model's context.
    pub fn check_length(&self, tokens: usize, model: &Model) -> Result<()> {
        let longest = model.config.max_position;
        if tokens <= longest {
            return Ok(());
        }
        Err(Error::TooLongForModel { place: self.place.clone(), tokens, longest })
    }

    /// The prompt with its expected answer, as a training row; nothing without one.
    pub fn to_row(&self) -> Option<Row> {
        self.answer.clone().map(|answer| self.followed_by(answer))
    }

    /// The prompt with this answer, as a training row.
    pub fn answered(&self, answer: &str) -> Row {
        self.followed_by(Message::assistant(answer))
    }

    fn followed_by(&self, answer: Message) -> Row {
        let mut messages = self.messages.clone();
        messages.push(Message { learn: true, ..answer });
        row(messages, Arc::clone(&self.inputs), self.place.clone())
    }

    /// Whether the label calls the prompt harmful: `true`, 1, `"harmful"` or
    /// `"unsafe"` for yes, `false`, 0, `"harmless"`, `"safe"` or `"benign"` for no.
    ///
    /// # Errors
    /// [`Error::Field`] if there is no label or it is none of these.
    pub fn harmful(&self) -> Result<bool> {
        let wrong = |found: String| Error::Field {
            place: self.place.clone(),
            field: "label".into(),
            found,
            expected: "1 (harmful) or 0 (harmless) to calibrate with",
        };
        let label = self.label.as_ref().ok_or_else(|| wrong("absent".into()))?;
        let text = match label {
            Value::Bool(harmful) => return Ok(*harmful),
            Value::Number(number) => number.as_f64().unwrap_or(f64::NAN).to_string(),
            Value::String(text) => text.trim().to_lowercase(),
            other => return Err(wrong(kind(other).into())),
        };
        match text.as_str() {
            "1" | "true" | "harmful" | "unsafe" => Ok(true),
            "0" | "false" | "harmless" | "safe" | "benign" => Ok(false),
            _ => Err(wrong(label.to_string())),
        }
    }
}

/// The training rows in the content of a file called `name`, in their order and
/// with origin `task`.
///
/// # Errors
/// One for the first record that is no training row: see [`Error`].
pub fn parse_rows(name: &Path, bytes: Vec<u8>) -> Result<Vec<Row>> {
    Ok(training_rows(Input::of(name, &*bytes)?, &BadRows::default())?.0)
}

/// As [`parse_rows`], with what a person should know of the file.
pub(super) fn training_rows(input: Input<'_>, bad: &BadRows) -> Result<(Vec<Row>, FileNotices)> {
    collected(input, bad, Purpose::Training, &mut |record| record.into_row())
}

/// As [`training_rows`], one row after the other.
pub(super) fn each_training_row(
    input: Input<'_>,
    bad: &BadRows,
    take: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<FileNotices> {
    each_record(input, bad, Purpose::Training, &mut |record| record.into_row(), take)
}

/// As [`training_rows`], of a file whose rows are read and not learned: what only training
/// has to refuse is no matter.
pub(super) fn answered_rows(input: Input<'_>, bad: &BadRows) -> Result<(Vec<Row>, FileNotices)> {
    collected(input, bad, Purpose::Answers, &mut |record| record.into_row())
}

/// The training rows of a file, each with the value of its key `key` (null if it
/// has none): scores that were made for the rows. None may be left out, since what has no
/// score counts as the worst.
pub fn read_rows_with(path: &Path, key: &str) -> Result<Read<(Row, Value)>> {
    let (mut rows, mut notices) = (Vec::new(), Notices::default());
    for file in hub::locate(path)? {
        let (input, bad) = (Input::open(&file)?, BadRows::default());
        let visit = &mut |record: Record<'_, '_>| {
            let value = record.fields.take(key).unwrap_or(Value::Null);
            Ok((record.into_row()?, value))
        };
        let take = &mut |row| {
            rows.push(row);
            Ok(())
        };
        let read = each_record(input, &bad, Purpose::Answers, visit, take);
        notices.add(read.map_err(|error| match error {
            Error::BadRow(error) => *error,
            other => other,
        })?);
    }
    Ok(Read { rows, notices })
}

/// The prompts in the content of a file called `name`, in their order. Takes
/// every shape; the answer that ends a conversation becomes the expected answer.
///
/// # Errors
/// One for the first record that has no prompt: see [`Error`].
pub fn parse_prompts(name: &Path, bytes: Vec<u8>) -> Result<Vec<Prompt>> {
    Ok(prompts(Input::of(name, &*bytes)?, &BadRows::default())?.0)
}

/// As [`parse_prompts`], with what a person should know of the file.
pub(super) fn prompts(input: Input<'_>, bad: &BadRows) -> Result<(Vec<Prompt>, FileNotices)> {
    collected(input, bad, Purpose::Prompts, &mut |record| record.into_prompt())
}

#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Training,
    /// Conversations with answers that are judged.
    Answers,
    Prompts,
}

/// A record that was read as a conversation, with the keys that are left.
struct Record<'f, 'a> {
    place: Place,
    fields: &'f mut Fields<'a>,
    conversation: Conversation,
    choices: Vec<String>,
}

impl Record<'_, '_> {
    fn into_row(self) -> Result<Row> {
        let Conversation { messages, inputs } = self.conversation;
        check_row(&self.place, &messages)?;
        Ok(row(messages, Arc::new(inputs), self.place))
    }

    fn into_prompt(self) -> Result<Prompt> {
        let Self { place, fields, conversation, choices } = self;
        let Conversation { mut messages, inputs } = conversation;
        let answer = messages.pop_if(|last| last.role == "assistant");
        if messages.last().is_none_or(|last| !["user", "tool"].contains(&last.role.as_str())) {
            let why = "no user message comes before the answer";
            return Err(Error::NoPrompt { place, why });
        }
        choices::check(&place, &choices, answer.as_ref().map(|one| one.content.as_str()))?;
        let (label, split) = (fields.take("label"), fields.take("split"));
        let split = Split::of(&place, split)?;
        let id = content_id(Chat { messages: &messages, inputs: &inputs });
        let inputs = Arc::new(inputs);
        Ok(Prompt { messages, inputs, answer, choices, label, split, id, place })
    }
}

/// All that [`each_record`] gives.
fn collected<T>(
    input: Input<'_>,
    bad: &BadRows,
    purpose: Purpose,
    visit: &mut dyn FnMut(Record<'_, '_>) -> Result<T>,
) -> Result<(Vec<T>, FileNotices)> {
    let mut found = Vec::new();
    let take = &mut |made| {
        found.push(made);
        Ok(())
    };
    let notices = each_record(input, bad, purpose, visit, take)?;
    Ok((found, notices))
}

/// Reads every record of a file, all of one shape, as a conversation. What `visit` makes
/// of them is given to `take`.
fn each_record<T>(
    mut input: Input<'_>,
    bad: &BadRows,
    purpose: Purpose,
    visit: &mut dyn FnMut(Record<'_, '_>) -> Result<T>,
    take: &mut dyn FnMut(T) -> Result<()>,
) -> Result<FileNotices> {
    let mut first = None;
    let mut notices = FileNotices::of(&input.name);
    let mut unread = BTreeSet::new();
    let format = format::records(&mut input, &mut unread, &mut |place, record| {
        notices.rows += 1;
        let mut ignored = BTreeSet::new();
        let read = record.and_then(|record| {
            let mut fields = Fields::new(&place, "", record);
            let made = read_record(&mut fields, purpose, &mut first, &mut ignored, visit)?;
            fields.finish(&mut ignored);
            Ok(made)
        });
        match read {
            Ok(made) => {
                notices.ignore(ignored);
                take(made)
            }
            Err(error) => notices.skip(bad, &place, error),
        }
    })?;
    notices.ignored.extend(unread.into_iter().map(|column| (column, notices.rows)));
    notices.guessed = format.guessed(&input.name);
    notices.check(bad)?;
    let (bytes, sha256) = input.measured();
    let shape = first.map(|shape| shape.to_string()).unwrap_or_default();
    notices.content = Some(Content { format, packing: input.packing, shape, bytes, sha256 });
    Ok(notices)
}

fn read_record<T>(
    fields: &mut Fields<'_>,
    purpose: Purpose,
    first: &mut Option<Shape>,
    ignored: &mut BTreeSet<String>,
    visit: &mut dyn FnMut(Record<'_, '_>) -> Result<T>,
) -> Result<T> {
    let place = fields.place.clone();
    let (choices, is_resolved) = choices::take(fields)?;
    if purpose != Purpose::Prompts && !choices.is_empty() && !is_resolved {
        ignored.insert("choices".into());
    }
    refused::in_row(fields)?;
    if purpose == Purpose::Training {
        refused::in_training_row(fields)?;
    }
    let shape = shape::detect(&place, fields.left())?;
    if let (Shape::Prompt(key), true) = (shape, purpose != Purpose::Prompts) {
        return Err(no_answer(place, key, fields));
    }
    let first = *first.get_or_insert(shape);
    if shape != first {
        return Err(Error::MixedShapes {
            place,
            first: first.to_string(),
            found: shape.to_string(),
        });
    }
    let conversation = conversation::of(fields, shape, ignored)?;
    let learned = conversation.messages.iter().any(Message::is_answer);
    let has_answers = conversation.messages.iter().any(|one| one.role == "assistant");
    if purpose == Purpose::Training && has_answers && !learned {
        return Err(Error::NothingLearned { place });
    }
    visit(Record { place, fields, conversation, choices })
}

fn no_answer(place: Place, key: &str, row: &Fields<'_>) -> Error {
    if row.has("answers") {
        let remedy = "write the one to learn as `answer`";
        return row.refused("answers", "isn't one answer", remedy);
    }
    Error::NoAnswer { place, why: format!("beside `{key}` there is no answer") }
}

fn check_row(place: &Place, messages: &[Message]) -> Result<()> {
    let place = || place.clone();
    let Some(last) = messages.last() else {
        return Err(Error::NoAnswer { place: place(), why: "the conversation is empty".into() });
    };
    if !messages.iter().any(|message| message.role == "assistant") {
        return Err(Error::NoAnswer {
            place: place(),
            why: "no message comes from the assistant".into(),
        });
    }
    if last.role != "assistant" {
        return Err(Error::LastNotAssistant { place: place(), role: last.role.clone() });
    }
    let mut spoken =
        messages.iter().filter(|message| !["system", "developer"].contains(&message.role.as_str()));
    match spoken.next() {
        Some(first) if first.role == "user" => Ok(()),
        Some(first) if first.role == "tool" => {
            Err(Error::NoPrompt { place: place(), why: "a tool speaks first" })
        }
        _ => Err(Error::NoPrompt { place: place(), why: "the assistant speaks first" }),
    }
}

fn row(messages: Vec<Message>, inputs: Arc<TemplateInputs>, place: Place) -> Row {
    let id = content_id(Chat { messages: &messages, inputs: &inputs });
    Row { messages, inputs, id, origin: Origin::Task, place }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
