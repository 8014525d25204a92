//! Conversations: what a chat template is rendered with.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, Range};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant`, `tool` or another role that the model's template knows.
    pub role: String,
    /// What is said.
    #[serde(default, skip_serializing_if = "Content::is_absent")]
    pub content: Content,
    /// What an assistant thinks before it answers.
    #[serde(
        default,
        rename = "reasoning_content",
        alias = "reasoning",
        alias = "thinking",
        skip_serializing_if = "Option::is_none"
    )]
    pub reasoning: Option<String>,
    /// Calls of tools by an assistant, in OpenAI's form, with arguments as given: text or an object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
    /// Who speaks, or which tool answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which call a tool answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Whether training learns it, if it is an assistant's.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub learn: bool,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_yes(learn: &bool) -> bool {
    *learn
}

impl Message {
    /// A message of any role.
    pub fn new(role: impl Into<String>, content: impl Into<Content>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            reasoning: None,
            tool_calls: Vec::new(),
            name: None,
            tool_call_id: None,
            learn: true,
        }
    }

    /// A message of the user.
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new("user", content)
    }

    /// An answer.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new("assistant", content)
    }

    /// What it says, without a thought that its content begins with.
    pub fn said(&self) -> &str {
        crate::thinking::split(&self.content).1
    }

    /// All that it says: a thought, the words after it, and calls of tools. What judges one
    /// message reads this, as training learns all of it.
    pub fn utterance(&self) -> Utterance<'_> {
        if self.role != "assistant" {
            return Utterance { text: self.content.as_str().into(), said: 0..self.content.len() };
        }
        let (inline, said) = crate::thinking::split(&self.content);
        let thought =
            self.reasoning.as_deref().or(inline).map(str::trim).filter(|it| !it.is_empty());
        if thought.is_none() && self.tool_calls.is_empty() {
            return Utterance { text: said.into(), said: 0..said.len() };
        }
        let mut text = thought.map_or_else(String::new, |thought| format!("{thought}\n\n"));
        let from = text.len();
        text.push_str(said);
        let to = text.len();
        for call in &self.tool_calls {
            let function = call.get("function").unwrap_or(call);
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{function}"));
        }
        Utterance { text: text.into(), said: from..to }
    }

    /// Whether training learns this message.
    pub fn is_answer(&self) -> bool {
        self.role == "assistant" && self.learn
    }
}

/// All that a message says, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Utterance<'a> {
    /// The thought, the words and the calls, one after the other.
    pub text: Cow<'a, str>,
    /// Bytes of the words.
    pub said: Range<usize>,
}

/// The text of a message and the form in which it was given, which a template can tell apart. Reads as its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    text: String,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Form {
    Text,
    /// A list of `{"type": "text", "text": …}`.
    Parts(Vec<String>),
    Null,
    #[default]
    Absent,
}

impl Content {
    /// A list of text parts.
    pub fn parts(parts: Vec<String>) -> Self {
        Self { text: parts.concat(), form: Form::Parts(parts) }
    }

    /// `null`, as OpenAI writes it beside calls of tools.
    pub fn null() -> Self {
        Self { text: String::new(), form: Form::Null }
    }

    /// The text; parts are joined.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The texts of the parts, if it was given as such.
    pub fn as_parts(&self) -> Option<&[String]> {
        match &self.form {
            Form::Parts(parts) => Some(parts),
            _ => None,
        }
    }

    /// Whether there was no such key.
    pub fn is_absent(&self) -> bool {
        self.form == Form::Absent
    }
}

impl Deref for Content {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T: Into<String>> From<T> for Content {
    fn from(text: T) -> Self {
        Self { text: text.into(), form: Form::Text }
    }
}

impl PartialEq<str> for Content {
    fn eq(&self, other: &str) -> bool {
        self.text == other
    }
}

impl PartialEq<&str> for Content {
    fn eq(&self, other: &&str) -> bool {
        self.text == *other
    }
}

#[derive(Serialize, Deserialize)]
struct Part<T> {
    r#type: T,
    text: T,
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.form {
            Form::Text => serializer.serialize_str(&self.text),
            Form::Parts(parts) => {
                serializer.collect_seq(parts.iter().map(|text| Part { r#type: "text", text }))
            }
            Form::Null | Form::Absent => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Text(String),
            Parts(Vec<Part<String>>),
            Null(()),
        }
        match Given::deserialize(deserializer)? {
            Given::Text(text) => Ok(text.into()),
            Given::Null(()) => Ok(Self::null()),
            Given::Parts(parts) => match parts.iter().find(|part| part.r#type != "text") {
                Some(other) => {
                    Err(D::Error::custom(format!("a content part of type {}", other.r#type)))
                }
                None => Ok(Self::parts(parts.into_iter().map(|part| part.text).collect())),
            },
        }
    }
}

/// What a chat template reads beside the messages of a conversation.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TemplateInputs {
    /// The tools that may be called, as a list of JSON schemas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Value>,
    /// Documents to answer from, as a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<Value>,
    /// Further variables (`chat_template_kwargs`), such as `enable_thinking`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kwargs: BTreeMap<String, Value>,
}

impl TemplateInputs {
    /// None of them.
    pub const NONE: &'static Self = &Self { tools: None, documents: None, kwargs: BTreeMap::new() };

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tools.is_none() && self.documents.is_none() && self.kwargs.is_empty()
    }
}

/// A conversation to render: borrowed messages with what the template reads beside them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chat<'a> {
    /// The turns, in order.
    pub messages: &'a [Message],
    /// What the template reads beside them.
    pub inputs: &'a TemplateInputs,
}

impl Chat<'_> {
    /// The first `count` messages, with the same inputs.
    #[must_use]
    pub fn until(self, count: usize) -> Self {
        Self { messages: &self.messages[..count], ..self }
    }
}

impl<'a> From<&'a [Message]> for Chat<'a> {
    fn from(messages: &'a [Message]) -> Self {
        Self { messages, inputs: TemplateInputs::NONE }
    }
}

impl<'a> From<&'a Vec<Message>> for Chat<'a> {
    fn from(messages: &'a Vec<Message>) -> Self {
        messages.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [Message; N]> for Chat<'a> {
    fn from(messages: &'a [Message; N]) -> Self {
        messages.as_slice().into()
    }
}

impl<'a> From<&'a std::sync::Arc<[Message]>> for Chat<'a> {
    fn from(messages: &'a std::sync::Arc<[Message]>) -> Self {
        (**messages).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_read_and_written_in_the_form_it_was_given() {
        for given in [
            json!({"role": "user", "content": "a"}),
            json!({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
            json!({"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}),
            json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}),
            json!({"role": "assistant", "content": "a", "reasoning_content": "b", "learn": false}),
            json!({"role": "tool", "content": "a", "name": "f", "tool_call_id": "1"}),
        ] {
            let message: Message = serde_json::from_value(given.clone()).unwrap();
            assert_eq!(serde_json::to_value(&message).unwrap(), given);
        }
    }

    #[test]
    fn content_reads_as_its_text() {
        let content = Content::parts(vec!["a ".into(), "b".into()]);
        assert_eq!(content, "a b");
        assert_ne!(content, Content::from("a b"));
        assert!(Content::null().is_empty() && Content::default().is_absent());
        let image = json!({"role": "user", "content": [{"type": "image", "text": ""}]});
        assert!(serde_json::from_value::<Message>(image).is_err());
    }

    #[test]
    fn only_what_an_assistant_says_and_may_teach_is_learned() {
        assert!(Message::assistant("a").is_answer() && !Message::user("a").is_answer());
        assert!(!Message { learn: false, ..Message::assistant("a") }.is_answer());
    }
}
