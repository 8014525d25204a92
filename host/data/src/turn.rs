//! One item of a list of messages, in the forms of OpenAI, ShareGPT and Anthropic.

use std::collections::BTreeSet;

use host_model::Content;
use serde_json::{Map, Value, json};

use super::error::{Error, Place, Result};
use super::fields::{Fields, text};
use super::shown::kind;
use super::{refused, switches, tools};
use host_files::text;

pub use host_model::Message;

/// Keys under which trainers and templates keep what an assistant thinks.
pub(super) const REASONING_KEYS: &[&str] = &["reasoning_content", "reasoning", "thinking"];

/// The messages of an item: one, or several where the results of tools are parts of one.
/// Keys that say nothing to anybody are added to `ignored`.
pub(super) fn read(
    place: &Place,
    path: &str,
    item: Map<String, Value>,
    ignored: &mut BTreeSet<String>,
) -> Result<Vec<Message>> {
    let mut fields = Fields::new(place, path, item);
    let role_key = if fields.has("role") { "role" } else { "from" };
    let spoken_by = match fields.take(role_key) {
        Some(role) => text(place, &fields.name(role_key), role)?,
        None => return Err(fields.wrong("role", "absent", "system, user, assistant or tool")),
    };
    let Some(role) = Role::named(&spoken_by) else {
        let (field, role) = (fields.name(role_key), text::name(&spoken_by));
        return Err(Error::Role { place: place.clone(), field, role });
    };
    let learn = switches::take(&mut fields, role.name())?;
    let content_key =
        ["content", "value", "text"].into_iter().find(|key| fields.left().contains_key(*key));
    let content_key = content_key.unwrap_or(if role_key == "role" { "content" } else { "value" });
    let mut said = Said::default();
    said.read(&mut fields, content_key, ignored)?;
    let mut message = Message { learn, ..Message::new(role.name(), Content::default()) };
    if role == Role::Calls {
        message.tool_calls = tools::calls_in_text(&fields, content_key, said.content.as_str())?;
        said.content = Content::default();
    }
    if message.role == "assistant" {
        message.tool_calls.extend(tools::calls(&mut fields)?);
        message.tool_calls.append(&mut said.calls);
        message.reasoning = reasoning(&mut fields)?.or(said.thinking.take());
        refusal(&mut fields, &mut said)?;
    } else if let Some(part) = said.only_assistants {
        let problem = format!("of a message of role {} is `{part}`", role.name());
        return Err(fields.refused(content_key, problem, "only an assistant's may be; remove it"));
    }
    message.name = fields.text("name")?.filter(|name| !name.is_empty());
    message.tool_call_id = fields.text("tool_call_id")?.filter(|id| !id.is_empty());
    message.content = said.content;
    refused::in_message(&mut fields)?;
    let is_empty = message.content.trim().is_empty();
    // An empty system message is meant: it switches a template's own one off. A tool may
    // have nothing to say, and a call needs no words.
    let may_be_empty = ["system", "developer", "tool"].contains(&role.name())
        || !message.tool_calls.is_empty()
        || !said.results.is_empty();
    if is_empty && !may_be_empty {
        let field = fields.name(content_key);
        return Err(Error::EmptyContent { place: place.clone(), field });
    }
    if !said.results.is_empty() && role.name() != "user" {
        let problem = format!("of a message of role {} is a tool's result", role.name());
        return Err(fields.refused(content_key, problem, "give it the role tool"));
    }
    fields.finish(ignored);
    let mut messages = said.results;
    if messages.is_empty() || !is_empty {
        messages.push(message);
    }
    Ok(messages)
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    /// An assistant's message that is a call of a tool.
    Calls,
    Tool,
}

impl Role {
    /// By the names that OpenAI's, ShareGPT's and others' formats use.
    fn named(name: &str) -> Option<Self> {
        match name.trim().to_lowercase().as_str() {
            "system" => Some(Self::System),
            "developer" => Some(Self::Developer),
            "user" | "human" => Some(Self::User),
            "assistant" | "gpt" | "chatgpt" | "bot" | "model" => Some(Self::Assistant),
            "function_call" | "tool_call" => Some(Self::Calls),
            "tool" | "function" | "observation" | "ipython" | "tool_response" => Some(Self::Tool),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant | Self::Calls => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// What an assistant thinks, from the keys of a message or a row.
pub(super) fn reasoning(fields: &mut Fields<'_>) -> Result<Option<String>> {
    match fields.take_one_of(REASONING_KEYS)? {
        Some((key, value)) => {
            Ok(Some(text(fields.place, &fields.name(key), value)?).filter(|text| !text.is_empty()))
        }
        None => Ok(None),
    }
}

/// The refusal that OpenAI keeps beside an empty content is what the assistant says.
fn refusal(fields: &mut Fields<'_>, said: &mut Said) -> Result<()> {
    match fields.text("refusal")?.filter(|refusal| !refusal.is_empty()) {
        Some(_) if !said.content.is_empty() => {
            let problem = "stands beside a content";
            Err(fields.refused("refusal", problem, "keep one of the two"))
        }
        Some(refusal) => {
            said.content = refusal.into();
            Ok(())
        }
        None => Ok(()),
    }
}

/// What the content of a message holds.
#[derive(Default)]
struct Said {
    content: Content,
    thinking: Option<String>,
    calls: Vec<Value>,
    /// Messages of tools.
    results: Vec<Message>,
    /// A type of part that only assistants may use.
    only_assistants: Option<&'static str>,
}

impl Said {
    /// Text, null, or a list of parts.
    fn read(
        &mut self,
        fields: &mut Fields<'_>,
        key: &str,
        ignored: &mut BTreeSet<String>,
    ) -> Result<()> {
        let is_null = fields.left().contains_key(key);
        let (place, path) = (fields.place, fields.name(key));
        let parts = match fields.take(key) {
            Some(Value::Array(parts)) => parts,
            Some(other) => {
                self.content = text(place, &path, other)?.into();
                return Ok(());
            }
            None => {
                self.content = if is_null { Content::null() } else { Content::default() };
                return Ok(());
            }
        };
        let mut texts = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            match part {
                Value::String(text) => texts.push(text),
                Value::Object(part) => {
                    let mut part = Fields::new(place, path, part);
                    self.part(&mut part, &mut texts)?;
                    part.finish(ignored);
                }
                other => {
                    let found = kind(&other).into();
                    let expected = "a text part";
                    return Err(Error::Field {
                        place: place.clone(),
                        field: path,
                        found,
                        expected,
                    });
                }
            }
        }
        let only_others = texts.is_empty() && !(self.calls.is_empty() && self.results.is_empty());
        self.content = if only_others { Content::null() } else { Content::parts(texts) };
        Ok(())
    }

    fn part(&mut self, part: &mut Fields<'_>, texts: &mut Vec<String>) -> Result<()> {
        let named = part.text("type")?;
        match named.as_deref() {
            None | Some("text" | "input_text" | "output_text") => match part.text("text")? {
                Some(text) => texts.push(text),
                None => return Err(part.wrong("text", "absent", "the text of the part")),
            },
            Some("refusal") => texts.extend(part.text("refusal")?),
            Some("thinking" | "reasoning") => {
                self.only_assistants = Some("thinking");
                part.take("signature");
                let key = if part.has("thinking") { "thinking" } else { "text" };
                let thought = match part.take(key) {
                    Some(Value::Array(parts)) => parts
                        .iter()
                        .map(|one| one["text"].as_str().or(one.as_str()))
                        .collect::<Option<String>>(),
                    Some(Value::String(text)) => Some(text),
                    _ => None,
                };
                let thought = thought.ok_or_else(|| part.wrong(key, "no text", "text"))?;
                self.thinking.get_or_insert_default().push_str(&thought);
            }
            Some("tool_use") => {
                self.only_assistants = Some("tool_use");
                let Some(name) = part.text("name")? else {
                    return Err(part.wrong("name", "absent", "the name of the tool"));
                };
                let arguments = part.take("input").unwrap_or_else(|| json!({}));
                if !arguments.is_object() {
                    return Err(part.wrong("input", kind(&arguments), "an object"));
                }
                let function = json!({"name": name, "arguments": arguments});
                let mut call = json!({"type": "function", "function": function});
                if let Some(id) = part.text("id")? {
                    call["id"] = id.into();
                }
                self.calls.push(call);
            }
            Some("tool_result") => {
                let mut result = Said::default();
                result.read(part, "content", &mut BTreeSet::new())?;
                if !(result.calls.is_empty() && result.results.is_empty()) {
                    return Err(part.wrong("content", "a call", "text"));
                }
                let tool_call_id = part.text("tool_use_id")?;
                self.results.push(Message { tool_call_id, ..Message::new("tool", result.content) });
            }
            Some(other) => {
                let field = part.name("");
                let field = field.trim_end_matches('.').to_owned();
                let (place, found) = (part.place.clone(), format!("\"{}\"", text::name(other)));
                return Err(Error::Field { place, field, found, expected: "a text part" });
            }
        }
        if part.has("is_error") && part.left().get("is_error") == Some(&Value::Bool(false)) {
            part.take("is_error");
        }
        Ok(())
    }
}
