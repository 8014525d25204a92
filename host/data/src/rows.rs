//! Records checked and brought into one form: conversations.

use std::path::Path;
use std::sync::Arc;

use host_model::{Chat, TemplateInputs};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::error::{Error, Place, Result};
use super::json::kind;
use super::origin::{Origin, Split};
use super::shape::{self, Shape};
use super::{choices, conversation, format};

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
    pub answer: Option<String>,
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

    /// The prompt with its expected answer, as a training row; nothing without one.
    pub fn to_row(&self) -> Option<Row> {
        self.answer.as_deref().map(|answer| self.answered(answer))
    }

    /// The prompt with this answer, as a training row.
    pub fn answered(&self, answer: &str) -> Row {
        let mut messages = self.messages.clone();
        messages.push(Message::assistant(answer));
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
    let mut rows = Vec::new();
    each_conversation(name, bytes, Purpose::Training, &mut |place, _, messages, _| {
        check_row(&place, &messages)?;
        rows.push(row(messages, Arc::default(), place));
        Ok(())
    })?;
    Ok(rows)
}

/// The training rows of a file, each with the value of its key `key` (null if it
/// has none): scores that were made for the rows.
pub fn read_rows_with(path: &Path, key: &str) -> Result<Vec<(Row, Value)>> {
    let mut rows = Vec::new();
    let bytes = super::format::read(path)?;
    each_conversation(path, bytes, Purpose::Training, &mut |place, record, messages, _| {
        check_row(&place, &messages)?;
        let value = record.get(key).cloned().unwrap_or(Value::Null);
        rows.push((row(messages, Arc::default(), place), value));
        Ok(())
    })?;
    Ok(rows)
}

/// The prompts in the content of a file called `name`, in their order. Takes
/// every shape; the answer that ends a conversation becomes the expected answer.
///
/// # Errors
/// One for the first record that has no prompt: see [`Error`].
pub fn parse_prompts(name: &Path, bytes: Vec<u8>) -> Result<Vec<Prompt>> {
    let mut prompts = Vec::new();
    each_conversation(
        name,
        bytes,
        Purpose::Prompts,
        &mut |place, record, mut messages, choices| {
            let answer = messages
                .pop_if(|last| last.role == "assistant")
                .map(|last| last.content.into_string());
            if messages.last().is_none_or(|last| last.role != "user") {
                return Err(Error::NoPrompt {
                    place,
                    why: "no user message comes before the answer",
                });
            }
            choices::check(&place, &choices, answer.as_deref())?;
            let label = record.get("label").filter(|label| !label.is_null()).cloned();
            let split = Split::of(&place, record)?;
            let id = content_id(&messages);
            let inputs = Arc::default();
            prompts.push(Prompt { messages, inputs, answer, choices, label, split, id, place });
            Ok(())
        },
    )?;
    Ok(prompts)
}

#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Training,
    Prompts,
}

/// Hears of the messages of a record, and of its choices.
type OnConversation<'a> =
    &'a mut dyn FnMut(Place, &Map<String, Value>, Vec<Message>, Vec<String>) -> Result<()>;

/// Reads every record, all of one shape, as a list of messages.
fn each_conversation(
    name: &Path,
    bytes: Vec<u8>,
    purpose: Purpose,
    visit: OnConversation<'_>,
) -> Result<()> {
    let mut first = None;
    format::records(name, bytes, &mut |place, mut record| {
        let choices = choices::take(&place, &mut record)?;
        let shape = shape::detect(&place, &record)?;
        if let (Shape::Prompt(key), Purpose::Training) = (shape, purpose) {
            return Err(Error::NoAnswer {
                place,
                why: format!("beside `{key}` there is no answer"),
            });
        }
        let first = *first.get_or_insert(shape);
        if shape != first {
            return Err(Error::MixedShapes {
                place,
                first: first.to_string(),
                found: shape.to_string(),
            });
        }
        let messages = conversation::of(&place, &record, shape)?;
        visit(place, &record, messages, choices)
    })
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
    match messages.iter().find(|message| message.role != "system") {
        Some(first) if first.role == "user" => Ok(()),
        _ => Err(Error::NoPrompt { place: place(), why: "the assistant speaks first" }),
    }
}

fn row(messages: Vec<Message>, inputs: Arc<TemplateInputs>, place: Place) -> Row {
    let id = content_id(Chat { messages: &messages, inputs: &inputs });
    Row { messages, inputs, id, origin: Origin::Task, place }
}

/// The id of a conversation: the first eight bytes, big-endian, of its SHA-256.
pub fn content_id<'a>(chat: impl Into<Chat<'a>>) -> u64 {
    let digest = content_digest(chat);
    u64::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

/// The SHA-256 of a conversation as the JSON list `[[role, content], ...]`. A message
/// with more than text has a third item that holds it, and what the template reads
/// beside the messages ends the list.
pub fn content_digest<'a>(chat: impl Into<Chat<'a>>) -> [u8; 32] {
    let Chat { messages, inputs } = chat.into();
    let canonical = Canonical { messages, inputs };
    let canonical = serde_json::to_vec(&canonical).expect("strings always serialise");
    Sha256::digest(canonical).into()
}

struct Canonical<'a> {
    messages: &'a [Message],
    inputs: &'a TemplateInputs,
}

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for message in self.messages {
            let plain = Message::new(message.role.as_str(), message.content.as_str());
            // `learn` says something of answers alone.
            if *message == (Message { learn: message.learn, ..plain }) && !is_withheld(message) {
                list.serialize_element(&(&message.role, message.content.as_str()))?;
            } else {
                list.serialize_element(&(&message.role, message.content.as_str(), message))?;
            }
        }
        if !self.inputs.is_empty() {
            list.serialize_element(self.inputs)?;
        }
        list.end()
    }
}

/// Whether it is an answer that isn't learned.
fn is_withheld(message: &Message) -> bool {
    message.role == "assistant" && !message.learn
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
