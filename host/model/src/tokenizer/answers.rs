//! Where the answers are in a conversation's tokens.

use std::ops::Range;

use super::ChatTokenizer;
use crate::error::{Error, Result};
use crate::message::Chat;

/// A conversation as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChat {
    /// All tokens of the rendered conversation.
    pub tokens: Vec<u32>,
    /// For every assistant message that is learned its tokens, with the one that ends the turn, as ranges of `tokens`.
    pub answer: Vec<Range<usize>>,
}

impl ChatTokenizer {
    /// Tokens of a whole conversation and where its answers are. Every assistant message that training learns is
    /// an answer; its range begins where the prompt (rendered with the generation prompt) ends and includes the token
    /// that ends the turn.
    ///
    /// # Errors
    /// [`Error::Template`], with the number of the message, when the tokens of a prompt aren't a prefix of the tokens
    /// of the whole, so that the model would be trained on another prompt than it is asked with later.
    pub fn encode_chat<'a>(&self, chat: impl Into<Chat<'a>>) -> Result<EncodedChat> {
        let chat = chat.into();
        let whole = self.render(chat, false)?;
        let encoding = self.encoding(&whole)?;
        let mut answer = Vec::new();
        for (index, message) in chat.messages.iter().enumerate().filter(|(_, m)| m.is_answer()) {
            let turn = Turn { whole: &whole, encoding: &encoding, chat, index };
            let start = self.answer_start(&turn)?;
            let end = self.answer_end(&turn, start, &message.content)?;
            if end <= start {
                return Err(turn.error("has no tokens of its own", "give every answer a text"));
            }
            answer.push(start..end);
        }
        Ok(EncodedChat { tokens: encoding.get_ids().to_vec(), answer })
    }

    /// For every answer, in order, the byte of its message's content at which the text of each of its tokens
    /// begins. White space that the template leaves out belongs to what follows it; tokens after the text begin at
    /// its end.
    ///
    /// # Errors
    /// As [`ChatTokenizer::encode_chat`], and [`Error::Template`] when an answer's text isn't in what is rendered.
    pub fn answer_starts<'a>(&self, chat: impl Into<Chat<'a>>) -> Result<Vec<Vec<usize>>> {
        let chat = chat.into();
        let encoded = self.encode_chat(chat)?;
        let whole = self.render(chat, false)?;
        let encoding = self.encoding(&whole)?;
        let spoken = chat.messages.iter().enumerate();
        let spoken = spoken.filter(|(_, m)| m.is_answer());
        let starts = encoded.answer.iter().zip(spoken).map(|(range, (index, message))| {
            let offsets = &encoding.get_offsets()[range.clone()];
            let content = message.content.as_str();
            let left_out = content.len() - content.trim_start().len();
            let begin = offsets.first().map_or(whole.len(), |(begin, _)| *begin);
            let found = whole.get(begin..).and_then(|rest| rest.find(content.trim()));
            let Some(found) = found else {
                let turn = Turn { whole: &whole, encoding: &encoding, chat, index };
                return Err(turn.error(
                    "is rewritten by the chat template",
                    "give a template that keeps the text of answers with --chat-template FILE",
                ));
            };
            let text = begin + found;
            let start = |offset: usize| match offset.saturating_sub(text) {
                0 => 0,
                at => (at + left_out).min(content.len()),
            };
            Ok(offsets.iter().map(|(begin, _)| start(*begin)).collect())
        });
        starts.collect()
    }

    /// Number of prompt tokens before an answer, after a check that they are a prefix of the whole.
    fn answer_start(&self, turn: &Turn<'_>) -> Result<usize> {
        let prompt = self.encode_prompt(turn.chat.until(turn.index))?;
        if !turn.encoding.get_ids().starts_with(&prompt) {
            return Err(turn.error(
                "begins differently in the prompt and in the whole conversation under this chat template",
                "split the conversation so that this answer is the last message, or give another with --chat-template FILE",
            ));
        }
        Ok(prompt.len())
    }

    /// One past the last token of an answer: what the template adds for it, less trailing white space.
    fn answer_end(&self, turn: &Turn<'_>, start: usize, content: &str) -> Result<usize> {
        let offsets = turn.encoding.get_offsets();
        let first_at = |byte: usize| offsets.partition_point(|(begin, _)| *begin < byte);
        let until_here = self.render(turn.chat.until(turn.index + 1), false)?;
        if turn.whole.starts_with(&until_here) {
            let mut end = first_at(until_here.len());
            while end > start && self.is_blank(turn, end - 1) {
                end -= 1;
            }
            return Ok(end);
        }
        // Templates that write the last answer differently (reasoning blocks): look for the text itself.
        let begin = offsets.get(start).map_or(turn.whole.len(), |(begin, _)| *begin);
        let Some(found) = turn.whole[begin..].find(content.trim()) else {
            return Err(turn.error(
                "is rewritten by the chat template",
                "split the conversation so that this answer is the last message",
            ));
        };
        let end = first_at(begin + found + content.trim().len());
        let mut next = end;
        while next < offsets.len() && self.is_blank(turn, next) {
            next += 1;
        }
        let ends_turn =
            turn.encoding.get_ids().get(next).is_some_and(|id| self.special_ids.contains(id));
        Ok(if ends_turn { next + 1 } else { end })
    }

    /// Whether a token is nothing but white space.
    fn is_blank(&self, turn: &Turn<'_>, token: usize) -> bool {
        let (begin, end) = turn.encoding.get_offsets()[token];
        let special = self.special_ids.contains(&turn.encoding.get_ids()[token]);
        !special && turn.whole.get(begin..end).is_some_and(|text| text.trim().is_empty())
    }
}

/// One assistant message inside a rendered conversation.
struct Turn<'a> {
    whole: &'a str,
    encoding: &'a tokenizers::Encoding,
    chat: Chat<'a>,
    index: usize,
}

impl Turn<'_> {
    fn error(&self, problem: &str, action: &str) -> Error {
        Error::template(format!("message {} (assistant) {problem}", self.index + 1), action)
    }
}
