//! The conversation of a record, whatever its shape.

use std::collections::BTreeSet;

use host_model::TemplateInputs;
use serde_json::{Map, Value};

use super::error::{Error, Result};
use super::fields::{Fields, says_nothing, text};
use super::shape::{CONTEXT_KEYS, SYSTEM_KEYS, Shape};
use super::shown::kind;
use super::{tools, turn};

pub use turn::Message;

/// What a record becomes.
pub(super) struct Conversation {
    pub messages: Vec<Message>,
    pub inputs: TemplateInputs,
}

/// The conversation of a record: a system message if there is one, then the turns. Keys
/// inside of it that nobody reads are added to `ignored`.
pub(super) fn of(
    row: &mut Fields<'_>,
    shape: Shape,
    ignored: &mut BTreeSet<String>,
) -> Result<Conversation> {
    let mut messages = match shape {
        Shape::Chat(key) => list(row, key, ignored)?,
        Shape::Prompt(key) => question(row, key, ignored)?,
        Shape::Pair(prompt, answer) => {
            let mut messages = question(row, prompt, ignored)?;
            let mut said = turns(row, answer, "assistant", ignored)?;
            thought(row, &mut said)?;
            messages.extend(said);
            messages
        }
    };
    let is_chat = matches!(shape, Shape::Chat(_));
    if row.has("history") {
        if is_chat {
            let remedy = "put its turns into the list, or remove it";
            return Err(row.refused("history", "stands beside a whole conversation", remedy));
        }
        let mut earlier = history(row, ignored)?;
        let at = messages.iter().take_while(|message| is_system(message)).count();
        messages.splice(at..at, earlier.drain(..));
    }
    system(row, &mut messages)?;
    Ok(Conversation { inputs: tools::inputs(row)?, messages })
}

fn is_system(message: &Message) -> bool {
    ["system", "developer"].contains(&message.role.as_str())
}

/// Puts the text of a row's `system` before its turns, unless they begin with it.
fn system(row: &mut Fields<'_>, messages: &mut Vec<Message>) -> Result<()> {
    let Some((key, value)) = row.take_one_of(SYSTEM_KEYS)? else {
        return Ok(());
    };
    let text = match value {
        // As Anthropic writes it.
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| part["text"].as_str().or(part.as_str()));
            let texts: Option<Vec<&str>> = texts.collect();
            texts.ok_or_else(|| row.wrong(key, "a list", "text, or a list of texts"))?.concat()
        }
        value => text(row.place, &row.name(key), value)?,
    };
    match messages.iter().find(|message| is_system(message)) {
        _ if text.is_empty() => Ok(()),
        None => {
            messages.insert(0, Message::new("system", text));
            Ok(())
        }
        Some(own) if own.content.trim() == text.trim() => Ok(()),
        Some(_) => {
            let problem = "says something else than the system message of the conversation";
            Err(row.refused(key, problem, "keep one of the two"))
        }
    }
}

/// The question under `key`; what it is about follows it after a blank line.
fn question(
    row: &mut Fields<'_>,
    key: &'static str,
    ignored: &mut BTreeSet<String>,
) -> Result<Vec<Message>> {
    let mut messages = turns(row, key, "user", ignored)?;
    for context in CONTEXT_KEYS.iter().filter(|context| **context != key) {
        let Some(value) = row.take(context).filter(|value| !says_nothing(value)) else {
            continue;
        };
        let expected = "text, or a list of texts";
        let text = match value {
            Value::String(text) => text,
            Value::Array(list) => {
                let texts = list.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
                texts.ok_or_else(|| row.wrong(context, "a list", expected))?.join("\n\n")
            }
            other => return Err(row.wrong(context, kind(&other), expected)),
        };
        if let Some(last) = messages.iter_mut().rfind(|message| message.role == "user") {
            last.content = format!("{}\n\n{text}", last.content).into();
        }
    }
    Ok(messages)
}

/// What is thought before the answer of a pair.
fn thought(row: &mut Fields<'_>, said: &mut [Message]) -> Result<()> {
    let Some(last) = said.last_mut() else {
        return Ok(());
    };
    match (turn::reasoning(row)?, &last.reasoning) {
        (Some(_), Some(_)) => {
            let problem = "stands beside that of the answer's message";
            Err(row.refused("reasoning_content", problem, "keep one of the two"))
        }
        (Some(thought), None) => {
            last.reasoning = Some(thought);
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

/// The turns before the question: pairs of a question and its answer, or messages.
fn history(row: &mut Fields<'_>, ignored: &mut BTreeSet<String>) -> Result<Vec<Message>> {
    let expected = "a list of [question, answer] pairs, or of {role, content}";
    let list = match row.take("history") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) if says_nothing(&other) => return Ok(Vec::new()),
        Some(other) => return Err(row.wrong("history", kind(&other), expected)),
    };
    let mut messages = Vec::new();
    for (index, item) in list.into_iter().enumerate() {
        match item {
            Value::Object(item) => {
                messages.extend(turn::read(
                    row.place,
                    &format!("history[{index}]"),
                    item,
                    ignored,
                )?);
            }
            Value::Array(pair) => {
                let texts: Vec<&str> = pair.iter().filter_map(Value::as_str).collect();
                let (2, [question, answer]) = (pair.len(), texts.as_slice()) else {
                    return Err(row.wrong("history", "a list with something else", expected));
                };
                messages.extend([Message::user(*question), Message::assistant(*answer)]);
            }
            other => {
                return Err(row.wrong("history", format!("a list of {}", kind(&other)), expected));
            }
        }
    }
    Ok(messages)
}

/// A prompt or an answer: text, or already a list of messages.
fn turns(
    row: &mut Fields<'_>,
    key: &'static str,
    role: &str,
    ignored: &mut BTreeSet<String>,
) -> Result<Vec<Message>> {
    if row.left().get(key).is_some_and(Value::is_array) {
        return list(row, key, ignored);
    }
    let text = row.text(key)?.unwrap_or_default();
    if text.trim().is_empty() {
        return Err(Error::EmptyContent { place: row.place.clone(), field: key.into() });
    }
    Ok(vec![Message::new(role, text)])
}

/// A list of `{role, content}` or `{from, value}`, or such a list as JSON text.
fn list(
    row: &mut Fields<'_>,
    key: &'static str,
    ignored: &mut BTreeSet<String>,
) -> Result<Vec<Message>> {
    let expected = "a list of {role, content} or {from, value}";
    let list = match row.take(key).map(|value| tools::parsed(value, '[')) {
        Some(Value::Array(list)) => list,
        Some(Value::Object(lists)) => {
            by_message(lists).ok_or_else(|| row.wrong(key, "an object", expected))?
        }
        None => Vec::new(),
        Some(other) => return Err(row.wrong(key, kind(&other), expected)),
    };
    let mut messages = Vec::with_capacity(list.len());
    for (index, item) in list.into_iter().enumerate() {
        let path = format!("{key}[{index}]");
        let Value::Object(item) = item else {
            let expected = "an object with role and content, or with from and value";
            return Err(row.wrong(&path, kind(&item), expected));
        };
        messages.extend(turn::read(row.place, &path, item, ignored)?);
    }
    if messages.is_empty() {
        return Err(Error::EmptyContent { place: row.place.clone(), field: key.into() });
    }
    Ok(messages)
}

/// A list of messages from `{"role": [...], "content": [...]}`, as some writers store it.
fn by_message(lists: Map<String, Value>) -> Option<Vec<Value>> {
    let mut messages: Option<Vec<Map<String, Value>>> = None;
    for (key, list) in lists {
        let Value::Array(list) = list else {
            return None;
        };
        let messages = messages.get_or_insert_with(|| vec![Map::new(); list.len()]);
        if messages.len() != list.len() {
            return None;
        }
        for (message, value) in messages.iter_mut().zip(list) {
            message.insert(key.clone(), value);
        }
    }
    Some(messages?.into_iter().map(Value::Object).collect())
}
