//! What tells one conversation from another.

use host_model::{Chat, Message, TemplateInputs};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use sha2::{Digest, Sha256};

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
