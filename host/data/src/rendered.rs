//! What of a row its chat template leaves out.

use std::collections::BTreeSet;

use host_model::{Chat, ChatTokenizer, Message};

use super::error::{Error, Place, Result};
use host_files::text;

/// What the template leaves out of a conversation and may leave out.
///
/// # Errors
/// [`Error::Refused`] for what changes the meaning of the row: the model would learn to
/// call tools that it isn't told of, or nothing where it should learn a call.
pub(super) fn left_out(
    place: &Place,
    chat: Chat<'_>,
    tokenizer: &ChatTokenizer,
) -> Result<BTreeSet<String>> {
    let names = |word: &str| tokenizer.template_mentions(chat, word);
    let refused = |field: &str| Error::Refused {
        place: place.clone(),
        field: field.into(),
        problem: "isn't read by the chat template".into(),
        remedy: "give a template that reads it with --chat-template FILE, or remove it".into(),
    };
    if chat.inputs.tools.is_some() && !names("tools") {
        return Err(refused("tools"));
    }
    if chat.inputs.documents.is_some() && !names("documents") {
        return Err(refused("documents"));
    }
    if chat.messages.iter().any(|one| !one.tool_calls.is_empty()) && !names("tool_calls") {
        return Err(refused("tool_calls"));
    }
    let mut left_out = BTreeSet::new();
    for name in chat.inputs.kwargs.keys().filter(|name| !names(name)) {
        left_out.insert(format!("chat_template_kwargs.{}", text::name(name)));
    }
    // A template that refuses the row is reported where its answers are looked for.
    let Ok(text) = tokenizer.render(chat, false) else {
        return Ok(left_out);
    };
    for message in chat.messages {
        let said = message.role != "assistant";
        if said && !message.content.is_empty() && !is_in(message, &text) {
            left_out.insert(format!("messages of role {}", message.role));
        }
        if message.name.as_ref().is_some_and(|name| said && !text.contains(name)) {
            left_out.insert("messages[].name".into());
        }
    }
    // Earlier thoughts are left out by many templates. Where the prompt begins a thought, the
    // last one is learned though no template writes it.
    let mut thoughts = chat.messages.iter().filter_map(|message| message.reasoning.as_deref());
    if let Some(last) = thoughts.next_back()
        && !text.contains(last.trim())
        && !learned(chat, tokenizer, last.trim())
    {
        left_out.insert("messages[].reasoning_content".into());
    }
    Ok(left_out)
}

fn learned(chat: Chat<'_>, tokenizer: &ChatTokenizer, thought: &str) -> bool {
    let tokens = tokenizer.encode_chat(chat).map(|encoded| encoded.tokens);
    let text = tokens.and_then(|tokens| tokenizer.decode_with_special(&tokens));
    text.is_ok_and(|text| text.contains(thought))
}

/// Whether what a message says is in a rendered text, as it is or as JSON.
fn is_in(message: &Message, text: &str) -> bool {
    let whole = [message.content.as_str().to_owned()];
    let parts = message.content.as_parts().unwrap_or(&whole);
    parts.iter().all(|part| {
        let escaped = serde_json::Value::from(part.as_str()).to_string();
        text.contains(part.trim()) || text.contains(escaped.trim_matches('"'))
    })
}
