//! What a record means, recognised by its keys.
//!
//! | keys | shape |
//! |---|---|
//! | `messages`: list of `{role, content}` | OpenAI chat |
//! | `conversations`: list of `{from, value}` | ShareGPT |
//! | `instruction`, optional `input`, `output` | Alpaca |
//! | `prompt` + `completion`, `prompt` + `response`, `prompt` + `answer`, `question` + `answer`, ... | prompt and answer |
//! | `prompt`, optional `label` and `split` | prompt without an answer, for evaluation and calibration |
//!
//! A record with the keys of several shapes has the first of them in this order.
//! Every shape may also have a `system` text, `tools`, `documents` and
//! `chat_template_kwargs`; a prompt what it is about ([`CONTEXT_KEYS`]) and a `history`,
//! and one to be evaluated `choices`. Other keys are counted and told, or refused where
//! they change what the row means.

use std::fmt;

use serde_json::{Map, Value};

use super::error::{Error, Place};
use host_files::text;

/// Most keys that an error names.
const MOST_NAMES: usize = 20;

/// Keys of a whole conversation.
pub(super) const CHAT_KEYS: &[&str] = &["messages", "conversations", "conversation"];

/// Keys of a question and its answer, the first that fits counts.
const PAIR_KEYS: &[(&str, &str)] = &[
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("instruction", "answer"),
    ("instruction", "completion"),
    ("prompt", "output"),
    ("question", "output"),
    ("question", "completion"),
    ("query", "output"),
    ("query", "completion"),
    ("input", "output"),
    ("input", "response"),
    ("input", "answer"),
    ("input", "completion"),
];

/// Keys of a question without an answer.
const PROMPT_KEYS: &[&str] = &["prompt", "question", "instruction", "query"];

/// Keys whose text joins a question's.
pub(super) const CONTEXT_KEYS: &[&str] = &[
    "input",
    "context",
    "contexts",
    "passage",
    "paragraph",
    "article",
    "document",
    "background",
    "knowledge",
    "evidence",
    "schema",
];

/// Keys of a system message beside the conversation.
pub(super) const SYSTEM_KEYS: &[&str] = &["system", "system_prompt", "system_message"];

/// Keys that make a row, to name the one that was meant.
const MAKE_A_ROW: &[&str] = &[
    "messages",
    "conversations",
    "conversation",
    "instruction",
    "input",
    "context",
    "output",
    "prompt",
    "completion",
    "response",
    "answer",
    "question",
    "query",
    "system",
    "system_prompt",
    "label",
    "split",
];

/// The shape of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A conversation under this key.
    Chat(&'static str),
    /// A question and its answer under these keys.
    Pair(&'static str, &'static str),
    /// A question without an answer.
    Prompt(&'static str),
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Chat(key) => write!(f, "`{key}`"),
            Shape::Pair(prompt, answer) => write!(f, "`{prompt}` + `{answer}`"),
            Shape::Prompt(key) => write!(f, "`{key}` alone"),
        }
    }
}

/// The shape of `record`; an error if none of its keys says.
pub fn detect(place: &Place, record: &Map<String, Value>) -> Result<Shape, Error> {
    let has = |key: &str| record.get(key).is_some_and(|value| !value.is_null());
    if let Some(key) = CHAT_KEYS.iter().find(|key| has(key)) {
        return Ok(Shape::Chat(key));
    }
    if let Some((prompt, answer)) =
        PAIR_KEYS.iter().find(|(prompt, answer)| has(prompt) && has(answer))
    {
        return Ok(Shape::Pair(prompt, answer));
    }
    if let Some(key) = PROMPT_KEYS.iter().find(|key| has(key)) {
        return Ok(Shape::Prompt(key));
    }
    let mut keys = PROMPT_KEYS.iter().chain(CHAT_KEYS);
    if let Some(key) = keys.find(|key| record.contains_key(**key)) {
        return Err(Error::EmptyContent { place: place.clone(), field: (*key).to_owned() });
    }
    let names: Vec<&str> = record.keys().map(String::as_str).collect();
    let rows = record.iter().find(|(_, value)| {
        value.as_array().and_then(|list| list.first()).is_some_and(Value::is_object)
    });
    Err(match rows {
        Some((key, Value::Array(list)))
            if list[0].get("content").is_some() && list[0].get("role").is_some() =>
        {
            Error::Renamed { place: place.clone(), key: text::name(key), name: "messages" }
        }
        Some((key, Value::Array(list)))
            if list[0].get("value").is_some() && list[0].get("from").is_some() =>
        {
            Error::Renamed { place: place.clone(), key: text::name(key), name: "conversations" }
        }
        Some((key, _)) => Error::Wrapped { place: place.clone(), key: text::name(key) },
        None => unknown_keys(place.clone(), &names),
    })
}

/// Whether columns of these names make rows.
pub(super) fn has_shape(names: &[&str]) -> bool {
    let has = |key: &str| names.contains(&key);
    CHAT_KEYS.iter().chain(PROMPT_KEYS).any(|key| has(key))
        || PAIR_KEYS.iter().any(|(prompt, answer)| has(prompt) && has(answer))
}

/// Whether a key is a question's or an answer's.
pub(super) fn is_of_pair(key: &str) -> bool {
    PAIR_KEYS.iter().any(|(prompt, answer)| [prompt, answer].contains(&&key))
}

/// Whether the value of a key is a list or an object that no text stands for.
pub(super) fn is_list_key(key: &str) -> bool {
    CHAT_KEYS.contains(&key) || ["history", "choices", "chat_template_kwargs"].contains(&key)
}

/// Whether the value of a key must be text (or, for a prompt and its answer, a
/// list of messages).
pub(super) fn is_text_key(key: &str) -> bool {
    MAKE_A_ROW.contains(&key) && !CHAT_KEYS.contains(&key) && !["label", "split"].contains(&key)
}

/// Whether a path, such as `messages[].role`, is of what makes a row.
pub(super) fn makes_a_row(path: &str) -> bool {
    match path.split_once("[].") {
        Some((key, inner)) => {
            MAKE_A_ROW.contains(&key) && ["role", "content", "from", "value"].contains(&inner)
        }
        None => MAKE_A_ROW.contains(&path),
    }
}

/// The error for a record of which no shape can be made, with the nearest known
/// key if one is near.
pub(super) fn unknown_keys(place: Place, names: &[&str]) -> Error {
    let nearest = names
        .iter()
        .flat_map(|name| MAKE_A_ROW.iter().map(move |known| (*name, *known)))
        .filter(|(name, _)| !MAKE_A_ROW.contains(name))
        .map(|(name, known)| (strsim::jaro_winkler(&name.to_lowercase(), known), name, known))
        .filter(|(similarity, ..)| *similarity > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let suggestion = match nearest {
        Some((_, name, known)) => format!("; did you mean `{known}` for `{}`?", text::name(name)),
        None if names.contains(&"text") => {
            "; plain text has no answer to learn, so divide it into prompt and completion"
                .to_owned()
        }
        None => String::new(),
    };
    let keys = match names {
        [] => "it has no keys".to_owned(),
        names => {
            let list: Vec<String> = names
                .iter()
                .take(MOST_NAMES)
                .map(|name| format!("`{}`", text::name(name)))
                .collect();
            let more = if names.len() > MOST_NAMES { ", ..." } else { "" };
            list.join(", ") + more
        }
    };
    Error::UnknownKeys { place, keys, suggestion }
}
