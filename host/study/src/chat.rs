//! Conversations to train on or to ask, and the files that keep them.

use std::path::Path;

use host_trainer::data::{Message, Prompt, Row, Split};
use host_trainer::run_dir::write_atomically;
use serde::Serialize;

/// A conversation to train on or to ask, with what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Chat {
    /// An answer at the end is learned, or compared with.
    pub messages: Vec<Message>,
    /// Whether it is harmful.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Of a question whose answer is picked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

impl Chat {
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            messages: vec![Message::user(prompt)],
            label: None,
            split: None,
            choices: Vec::new(),
        }
    }

    pub fn answered(mut messages: Vec<Message>, answer: &str) -> Self {
        messages.push(Message::assistant(answer));
        Self { messages, label: None, split: None, choices: Vec::new() }
    }

    pub fn labelled(&self, harmful: bool, split: Split) -> Self {
        let asked = self.messages.iter().filter(|message| message.role != "assistant");
        let messages = asked.cloned().collect();
        Self { messages, label: Some(harmful), split: Some(split), choices: Vec::new() }
    }

    /// What the user says.
    pub fn text(&self) -> &str {
        let user = self.messages.iter().rfind(|message| message.role == "user");
        user.map_or("", |message| &message.content)
    }
}

impl From<Row> for Chat {
    fn from(row: Row) -> Self {
        Self { messages: row.messages, label: None, split: None, choices: Vec::new() }
    }
}

impl From<Prompt> for Chat {
    fn from(prompt: Prompt) -> Self {
        let label = prompt.harmful().ok();
        let mut messages = prompt.messages;
        messages.extend(prompt.answer);
        Self { messages, label, split: prompt.split, choices: prompt.choices }
    }
}

/// JSON Lines, whole or not at all.
pub fn write_lines(path: &Path, lines: &[impl Serialize]) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
    }
    Ok(write_atomically(path, &bytes)?)
}
