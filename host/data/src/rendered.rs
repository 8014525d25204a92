//! What of a row its chat template leaves out or changes.

use std::collections::BTreeSet;

use host_model::{Chat, ChatTokenizer, Message, TemplateInputs};
use serde_json::{Value, json};

use super::error::{Error, Place, Result};
use host_files::text;

/// The thought of a row's last answer, among what is left out.
pub(super) const LAST_THOUGHT: &str = "messages[].reasoning_content";

/// What a chat template makes of a row, where that isn't what the row says.
#[derive(Clone, Debug, Default)]
pub(super) struct Unfaithful {
    /// What it leaves out and may leave out.
    pub left_out: BTreeSet<String>,
    /// Whether it changes what an answer says.
    pub changed: bool,
}

impl Unfaithful {
    pub fn is_empty(&self) -> bool {
        self.left_out.is_empty() && !self.changed
    }
}

/// Looks for what of a conversation isn't in what its template renders.
///
/// # Errors
/// [`Error::Refused`] for what changes the meaning of the row: the model would learn to
/// call tools that it isn't told of, or nothing where it should learn a call.
pub(super) fn unfaithful(
    place: &Place,
    chat: Chat<'_>,
    tokenizer: &ChatTokenizer,
) -> Result<Unfaithful> {
    let refused = |field: &str| Error::Refused {
        place: place.clone(),
        field: field.into(),
        problem: "isn't read by the chat template".into(),
        remedy: "give a template that reads it with --chat-template FILE, or remove it".into(),
    };
    if chat.inputs.tools.is_some() && !tokenizer.template_mentions(chat, "tools") {
        return Err(refused("tools"));
    }
    if chat.inputs.documents.is_some() && !tokenizer.template_mentions(chat, "documents") {
        return Err(refused("documents"));
    }
    let has_calls = chat.messages.iter().any(|message| !message.tool_calls.is_empty());
    if (has_calls || chat.inputs.tools.is_some())
        && let Some(field) = Trial::of(chat).unread(tokenizer)
    {
        return Err(refused(field));
    }
    let mut found = Unfaithful::default();
    for name in chat.inputs.kwargs.keys() {
        if !tokenizer.template_mentions(chat, name) {
            found.left_out.insert(format!("chat_template_kwargs.{}", text::name(name)));
        }
    }
    // A template that refuses the row is reported where its answers are looked for.
    let Ok(text) = tokenizer.render(chat, false) else {
        return Ok(found);
    };
    for message in chat.messages {
        let is_lost = !message.content.trim().is_empty() && !is_in(message, &text);
        if message.role != "assistant" {
            if is_lost {
                found.left_out.insert(format!("messages of role {}", message.role));
            }
            if message.name.as_ref().is_some_and(|name| !text.contains(name)) {
                found.left_out.insert("messages[].name".into());
            }
        } else if is_lost && !message.tool_calls.is_empty() {
            found.left_out.insert("messages[].content beside tool_calls".into());
        } else if is_lost && message.learn {
            found.changed = true;
        }
    }
    // Earlier thoughts are left out by many templates.
    let mut thoughts = chat.messages.iter().filter_map(|message| message.reasoning.as_deref());
    if thoughts.next_back().is_some_and(|last| !text.contains(last.trim())) {
        found.left_out.insert(LAST_THOUGHT.into());
    }
    Ok(found)
}

/// A conversation whose tools and calls have names of our own: what of them is rendered shows, whatever else the
/// template has words for.
struct Trial {
    messages: Vec<Message>,
    inputs: TemplateInputs,
    /// The names, with the field that they stand in.
    names: Vec<(String, &'static str)>,
}

impl Trial {
    fn of(chat: Chat<'_>) -> Self {
        let (messages, inputs) = (chat.messages.to_vec(), chat.inputs.clone());
        let mut trial = Self { messages, inputs, names: Vec::new() };
        for tool in trial.inputs.tools.iter_mut().filter_map(Value::as_array_mut).flatten() {
            rename(tool, "tools", &mut trial.names);
        }
        for call in trial.messages.iter_mut().flat_map(|message| &mut message.tool_calls) {
            rename(call, "tool_calls", &mut trial.names);
        }
        trial
    }

    /// The field of which the template leaves something out.
    fn unread(&self, tokenizer: &ChatTokenizer) -> Option<&'static str> {
        if self.names.is_empty() {
            return None;
        }
        let chat = Chat { messages: &self.messages, inputs: &self.inputs };
        let text = tokenizer.render(chat, false);
        let is_read = |(name, field): &(String, &'static str)| match &text {
            Ok(text) => text.contains(name.as_str()),
            // A template that knows its tools may refuse others.
            Err(_) => tokenizer.template_mentions(chat, field),
        };
        self.names.iter().find(|name| !is_read(name)).map(|(_, field)| *field)
    }
}

/// Gives a tool or a call another name; and an argument, if the call has some.
fn rename(one: &mut Value, field: &'static str, names: &mut Vec<(String, &'static str)>) {
    let function = if one.get("function").is_some() { &mut one["function"] } else { one };
    let mut put = |value: &mut Value, word: &str| {
        let name = format!("{word}{}x", names.len());
        *value = name.clone().into();
        names.push((name, field));
    };
    if let Some(name) = function.get_mut("name").filter(|name| name.is_string()) {
        put(name, "Qzname");
    }
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    match function.get_mut("arguments") {
        Some(Value::Object(map)) if !map.is_empty() => {
            put(map.entry("Qz").or_insert(Value::Null), "Qzvalue");
        }
        Some(Value::String(text)) => {
            if let Some(Value::Object(mut map)) = parsed(text).filter(|it| *it != json!({})) {
                put(map.entry("Qz").or_insert(Value::Null), "Qzvalue");
                *text = Value::from(map).to_string();
            }
        }
        _ => {}
    }
}

/// Whether what a message says is in a rendered text, as it is or as JSON.
fn is_in(message: &Message, text: &str) -> bool {
    // The thought of an answer is looked for elsewhere.
    let said = if message.role == "assistant" { message.said() } else { &message.content };
    let whole = [said.to_owned()];
    let parts = message.content.as_parts().filter(|_| said.len() == message.content.len());
    parts.unwrap_or(&whole).iter().all(|part| {
        let escaped = Value::from(part.as_str()).to_string();
        text.contains(part.trim()) || text.contains(escaped.trim_matches('"'))
    })
}
