//! A conversation that somebody asks to go on with, read as those of data files are.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use host_model::{Chat, ChatTokenizer, Message, TemplateInputs};
use serde_json::{Map, Value};

use super::conversation;
use super::error::{Place, Result};
use super::fields::Fields;
use super::rendered::unfaithful;
use super::shape::Shape;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub messages: Vec<Message>,
    pub inputs: TemplateInputs,
    /// Keys that nobody reads and what the chat template leaves out, by name.
    pub ignored: BTreeSet<String>,
}

impl Request {
    /// Of an object with `messages` and perhaps `tools`, `documents` and `chat_template_kwargs`.
    ///
    /// # Errors
    /// What a row is refused for, and tools that the chat template doesn't read.
    pub fn read(record: Map<String, Value>, tokenizer: &ChatTokenizer) -> Result<Self> {
        let place = Place::line(&Arc::from(Path::new("request")), 1);
        let mut fields = Fields::new(&place, "", record);
        let mut ignored = BTreeSet::new();
        let read = conversation::of(&mut fields, Shape::Chat("messages"), &mut ignored)?;
        let (messages, inputs) = (read.messages, read.inputs);
        fields.finish(&mut ignored);
        let has_calls = messages.iter().any(|message| !message.tool_calls.is_empty());
        if has_calls || !inputs.is_empty() {
            let chat = Chat { messages: &messages, inputs: &inputs };
            ignored.extend(unfaithful(&place, chat, tokenizer)?.left_out);
        }
        Ok(Self { messages, inputs, ignored })
    }
}
