//! The messages of a record, whatever its shape.

use serde_json::{Map, Value};

use super::error::{Error, Place, Result};
use super::json::kind;
use super::shape::{CONTEXT_KEYS, SYSTEM_KEYS, Shape};

pub use host_model::Message;

/// The conversation of a record: a system message if there is one, then the turns.
pub(super) fn of(place: &Place, record: &Map<String, Value>, shape: Shape) -> Result<Vec<Message>> {
    let mut messages = match shape {
        Shape::Chat(key) => list(place, key, &record[key])?,
        Shape::Prompt(key) => question(place, key, record)?,
        Shape::Pair(prompt, answer) => {
            let mut messages = question(place, prompt, record)?;
            messages.extend(turns(place, answer, &record[answer], "assistant")?);
            messages
        }
    };
    let system = SYSTEM_KEYS
        .iter()
        .filter_map(|key| Some((*key, record.get(*key)?)))
        .find(|(_, value)| !value.is_null());
    if let Some((key, value)) = system {
        let text = text(place, key, value)?;
        let has_one = messages.iter().any(|message| message.role == "system");
        if !text.is_empty() && !has_one {
            messages.insert(0, message("system", text));
        }
    }
    Ok(messages)
}

fn message(role: &str, content: String) -> Message {
    Message::new(role, content)
}

/// The question under `key`; an instruction's input follows it after a blank line.
fn question(place: &Place, key: &str, record: &Map<String, Value>) -> Result<Vec<Message>> {
    let mut messages = turns(place, key, &record[key], "user")?;
    if key != "instruction" {
        return Ok(messages);
    }
    for context in CONTEXT_KEYS {
        let Some(value) = record.get(*context).filter(|value| !value.is_null()) else {
            continue;
        };
        let text = text(place, context, value)?;
        if let (false, Some(last)) = (text.trim().is_empty(), messages.last_mut()) {
            last.content = format!("{}\n\n{text}", last.content).into();
        }
    }
    Ok(messages)
}

/// A prompt or an answer: text, or already a list of messages.
fn turns(place: &Place, key: &str, value: &Value, role: &str) -> Result<Vec<Message>> {
    if value.is_array() {
        return list(place, key, value);
    }
    let text = text(place, key, value)?;
    if text.trim().is_empty() {
        return Err(Error::EmptyContent { place: place.clone(), field: key.into() });
    }
    Ok(vec![message(role, text)])
}

/// A list of `{role, content}` or `{from, value}`.
fn list(place: &Place, key: &str, value: &Value) -> Result<Vec<Message>> {
    let wrong = |field: String, found: &Value| Error::Field {
        place: place.clone(),
        field,
        found: kind(found).into(),
        expected: "a list of {role, content} or {from, value}",
    };
    let Value::Array(list) = value else {
        return Err(wrong(key.into(), value));
    };
    let mut messages = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let path = format!("{key}[{index}]");
        let Value::Object(item) = item else {
            return Err(wrong(path, item));
        };
        messages.push(list_item(place, &path, item)?);
    }
    if messages.is_empty() {
        return Err(Error::EmptyContent { place: place.clone(), field: key.into() });
    }
    Ok(messages)
}

fn list_item(place: &Place, path: &str, item: &Map<String, Value>) -> Result<Message> {
    let (role_key, content_key) =
        if item.contains_key("role") { ("role", "content") } else { ("from", "value") };
    let path_of = |key: &str| format!("{path}.{key}");
    let part = |key: &str| item.get(key).unwrap_or(&Value::Null);
    let spoken_by = text(place, &path_of(role_key), part(role_key))?;
    let Some(role) = role(&spoken_by) else {
        return Err(Error::Role {
            place: place.clone(),
            field: path_of(role_key),
            role: spoken_by,
        });
    };
    let content = content(place, &path_of(content_key), part(content_key))?;
    // An empty system message is meant: it switches a template's own one off.
    if content.trim().is_empty() && role != "system" {
        return Err(Error::EmptyContent { place: place.clone(), field: path_of(content_key) });
    }
    Ok(message(role, content))
}

/// The role by the names that OpenAI's and ShareGPT's formats use.
fn role(name: &str) -> Option<&'static str> {
    match name.trim().to_lowercase().as_str() {
        "system" => Some("system"),
        "user" | "human" => Some("user"),
        "assistant" | "gpt" | "chatgpt" | "bot" | "model" => Some("assistant"),
        _ => None,
    }
}

/// Text, or a list of text parts `{type: "text", text}` to be joined.
fn content(place: &Place, path: &str, value: &Value) -> Result<String> {
    let Value::Array(parts) = value else {
        return match value {
            Value::Null => Err(Error::EmptyContent { place: place.clone(), field: path.into() }),
            other => text(place, path, other),
        };
    };
    let mut joined = String::new();
    for (index, part) in parts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(value) = part.get("text") {
            joined.push_str(&text(place, &format!("{path}.text"), value)?);
        } else {
            let found = part.get("type").map_or_else(|| kind(part).to_owned(), Value::to_string);
            return Err(Error::Field {
                place: place.clone(),
                field: path,
                found,
                expected: "a text part",
            });
        }
    }
    Ok(joined)
}

fn text(place: &Place, field: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(Error::Field {
            place: place.clone(),
            field: field.into(),
            found: kind(other).into(),
            expected: "text",
        }),
    }
}
