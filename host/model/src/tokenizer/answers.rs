//! Where the answers are in a conversation's tokens.
//!
//! An answer begins where the prompt ends that the model is asked with, so that it learns to go on from there: after
//! the generation prompt, thinking included. Its turn's last token belongs to it. A template that marks answers by
//! `{% generation %}` blocks says itself where they are, as it does to transformers.

use std::ops::Range;

use super::ChatTokenizer;
use super::beginnings::Unlike;
use super::layout::{Tokens, common_prefix, wrong};
use super::thoughts::{ThoughtUse, is_thought, opened, opening_of, thought_of, without_thought};
use crate::error::Result;
use crate::message::{Chat, Message};
use crate::thinking;

/// A conversation as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChat {
    /// All tokens of the rendered conversation.
    pub tokens: Vec<u32>,
    /// For every assistant message that is learned its tokens, with the one that ends the turn, as ranges of `tokens`.
    pub answer: Vec<Range<usize>>,
    /// What became of thoughts.
    pub thoughts: ThoughtUse,
    /// Set if the last answer doesn't begin as the prompt ends that the model will be asked with.
    pub unlike: Option<Unlike>,
}

/// A conversation's text, its tokens, and the answers in both.
struct Laid {
    text: String,
    tokens: Tokens,
    answers: Vec<Range<usize>>,
    thoughts: ThoughtUse,
    unlike: Option<Unlike>,
}

/// Where an answer is in the text.
#[derive(Debug, Clone)]
struct Place {
    /// Bytes from the end of its prompt to the end of its turn.
    bytes: Range<usize>,
    /// Tokens of its prompt, where the text before it is just that prompt.
    prompt: Option<Vec<u32>>,
    /// Whether white space at its end is the template's.
    trim: bool,
}

impl ChatTokenizer {
    /// Tokens of a whole conversation and where its answers are. Every assistant message that training learns is
    /// an answer; its range begins where the prompt (rendered with the generation prompt) ends and includes the token
    /// that ends the turn.
    ///
    /// Where the prompt begins a thought, the last answer's thought follows it: the message's own, or an empty one.
    ///
    /// # Errors
    /// [`Error::Template`](crate::Error::Template), with the number of the message, when the prompt isn't how the whole begins, so that the
    /// model would be trained on another prompt than it is asked with later.
    pub fn encode_chat<'a>(&self, chat: impl Into<Chat<'a>>) -> Result<EncodedChat> {
        let Laid { tokens, answers, thoughts, unlike, .. } = self.lay_out(chat.into())?;
        Ok(EncodedChat { tokens: tokens.ids, answer: answers, thoughts, unlike })
    }

    /// For every answer, in order, the byte of what its message says, its thought left out, at which the text of
    /// each of its tokens begins. White space that the template leaves out belongs to what follows it; tokens before
    /// the text begin at its begin, and tokens after it at its end.
    ///
    /// # Errors
    /// As [`ChatTokenizer::encode_chat`], and [`Error::Template`](crate::Error::Template) when an answer's text isn't in what is rendered.
    pub fn answer_starts<'a>(&self, chat: impl Into<Chat<'a>>) -> Result<Vec<Vec<usize>>> {
        let chat = chat.into();
        let laid = self.lay_out(chat)?;
        let spoken = chat.messages.iter().enumerate().filter(|(_, m)| m.is_answer());
        let starts = laid.answers.iter().zip(spoken).map(|(range, (index, message))| {
            let offsets = &laid.tokens.offsets[range.clone()];
            let said = message.said();
            let left_out = said.len() - said.trim_start().len();
            let begin = offsets.first().map_or(laid.text.len(), |(begin, _)| *begin);
            let end = offsets.last().map_or(begin, |(_, end)| *end);
            // Its thought may have the same words.
            let found = laid.text.get(begin..end).and_then(|turn| turn.rfind(said.trim()));
            let Some(found) = found else {
                return Err(wrong(
                    index,
                    "is rewritten by the chat template",
                    "give a template that keeps the text of answers with --chat-template FILE",
                ));
            };
            let text = begin + found;
            let start = |offset: usize| match offset.saturating_sub(text) {
                0 => 0,
                at => (at + left_out).min(said.len()),
            };
            Ok(offsets.iter().map(|(begin, _)| start(*begin)).collect())
        });
        starts.collect()
    }

    fn lay_out(&self, chat: Chat<'_>) -> Result<Laid> {
        let rendered = self.rendered(chat, false)?;
        if !rendered.generated.is_empty() {
            return self.lay_out_marked(chat, rendered.text, &rendered.generated);
        }
        let mut text = rendered.text;
        let mut thoughts = ThoughtUse::default();
        let mut places = Vec::new();
        for (index, message) in chat.messages.iter().enumerate().filter(|(_, m)| m.is_answer()) {
            let place = self.place(chat, index, &mut text, &mut thoughts)?;
            count_given(message, &text[place.bytes.clone()], &mut thoughts);
            places.push(place);
        }
        let mut tokens = self.cut_tokens(&text, &[])?;
        let is_cut = |place: &&Place| {
            place.prompt.as_ref().is_some_and(|prompt| !tokens.ids.starts_with(prompt))
        };
        let cuts: Vec<usize> = places.iter().filter(is_cut).map(|it| it.bytes.start).collect();
        if !cuts.is_empty() {
            tokens = self.cut_tokens(&text, &cuts)?;
        }
        let answers = places.iter().map(|place| self.range(&text, &tokens, place)).collect();
        let laid = Laid { text, tokens, answers, thoughts, unlike: None };
        laid.checked(chat)
    }

    /// By the template's own marks. Which of them belong to a message shows by rendering the conversation up to it.
    fn lay_out_marked(&self, chat: Chat<'_>, text: String, spans: &[Range<usize>]) -> Result<Laid> {
        let tokens = self.cut_tokens(&text, &[])?;
        let (mut answers, mut thoughts) = (Vec::new(), ThoughtUse::default());
        let mut before = 0;
        let said = || chat.messages.iter().enumerate().filter(|(_, m)| m.role == "assistant");
        let one_each = said().count() == spans.len();
        for (index, message) in said() {
            let until_here = if index + 1 == chat.messages.len() {
                spans.len()
            } else if one_each {
                before + 1
            } else {
                self.rendered(chat.until(index + 1), false)?.generated.len()
            };
            let own = spans.get(before..until_here).unwrap_or_default();
            before = until_here;
            if !message.learn {
                continue;
            }
            let (Some(first), Some(last)) = (own.first(), own.last()) else {
                return Err(wrong(
                    index,
                    "isn't marked by the generation blocks of the chat template",
                    "correct the template, or give another with --chat-template FILE",
                ));
            };
            if own.len() > 1 {
                return Err(wrong(
                    index,
                    "is marked in several places by the chat template",
                    "give a template that marks it in one with --chat-template FILE",
                ));
            }
            count_given(message, &text[first.start..last.end], &mut thoughts);
            // As transformers: every token that has a part of it.
            let begin = tokens.offsets.partition_point(|(_, end)| *end <= first.start);
            answers.push(begin..tokens.before(last.end).max(begin));
        }
        let unlike = match (chat.messages.last(), answers.last()) {
            (Some(last), Some(answer)) if last.is_answer() => {
                self.unlike(chat, &tokens.ids[..answer.end])?
            }
            _ => None,
        };
        Laid { text, tokens, answers, thoughts, unlike }.checked(chat)
    }

    /// Where an answer is; puts the thought into the text that a prompt begins and the template leaves out.
    fn place(
        &self,
        chat: Chat<'_>,
        index: usize,
        text: &mut String,
        thoughts: &mut ThoughtUse,
    ) -> Result<Place> {
        let prompt = self.render(chat.until(index), true)?;
        if !text.starts_with(&prompt) {
            let base = self.common_with_prompt(chat, index, &prompt, text);
            let begun = is_thought(&prompt) && prompt.len() > base;
            if !begun {
                return Err(self.begins_else(chat, index, (&prompt, text), base));
            }
            if index + 1 < chat.messages.len() {
                thoughts.earlier += 1;
                let end = self.end(chat, index, text, base)?;
                return Ok(Place { bytes: base..end.0, prompt: None, trim: end.1 });
            }
            *text = self.thought_over(chat, &prompt, base)?;
        }
        if opened(&prompt).is_some() && thought_of(&chat.messages[index]).is_none() {
            thoughts.emptied += 1;
        }
        let (end, trim) = self.end(chat, index, text, prompt.len())?;
        Ok(Place { bytes: prompt.len()..end, prompt: Some(self.encode(&prompt)?), trim })
    }

    /// Bytes of the text before what the prompt of an answer adds to it. The answer itself may begin with the letters
    /// that the prompt goes on with, so it is rendered with others as well.
    fn common_with_prompt(&self, chat: Chat<'_>, index: usize, prompt: &str, text: &str) -> usize {
        let mut base = common_prefix(prompt, text);
        for word in ["a", "b"] {
            let mut messages = chat.messages.to_vec();
            messages[index] = Message { content: word.into(), ..without_thought(&messages[index]) };
            if let Ok(other) = self.render(Chat { messages: &messages, ..chat }, false) {
                base = base.min(common_prefix(prompt, &other));
            }
        }
        base
    }

    /// The text of a conversation whose last answer follows its prompt, of which the template has written only `base`
    /// bytes: with the thought that the prompt begins, or without the one that it ends.
    fn thought_over(&self, chat: Chat<'_>, prompt: &str, base: usize) -> Result<String> {
        let index = chat.messages.len() - 1;
        let bare = without_thought(&chat.messages[index]);
        let messages = [&chat.messages[..index], &[bare]].concat();
        let plain = self.render(Chat { messages: &messages, ..chat }, false)?;
        let Some(close) = self.close_of(prompt) else {
            // The prompt has an empty thought, and so has an answer that wasn't thought about.
            let rest =
                plain.strip_prefix(prompt).unwrap_or_else(|| plain.get(base..).unwrap_or_default());
            return Ok(format!("{prompt}{rest}"));
        };
        let thought = thought_of(&chat.messages[index]).unwrap_or_default();
        // Without the thought that the template may have put there in another form, of which the prompt may have begun
        // the mark.
        let rest = plain.get(base.min(opening_of(prompt))..).unwrap_or_default();
        let bare = || rest.trim_start().strip_prefix(close.trim()).map(str::trim_start);
        let said = thinking::begun(rest).map(|it| it.1).or_else(bare).unwrap_or(rest);
        Ok(format!("{prompt}{thought}{close}{}", said.trim_start_matches('\n')))
    }

    /// One past the last byte of an answer, and whether white space before it is to be left out: what the template
    /// adds for the message.
    fn end(&self, chat: Chat<'_>, index: usize, text: &str, begin: usize) -> Result<(usize, bool)> {
        if index + 1 == chat.messages.len() {
            return Ok((text.len().max(begin), true));
        }
        let until_here = self.render(chat.until(index + 1), false)?;
        if text.starts_with(&until_here) {
            // A template may write nothing for a message.
            return Ok((until_here.len().max(begin), true));
        }
        // Templates that write the last answer differently, with its thought: what follows that is the same.
        let turn = until_here.get(common_prefix(&until_here, &text[..begin])..).unwrap_or_default();
        let rest = &text[begin..];
        let ends = turn.char_indices().map(|(at, _)| &turn[at..]);
        let same = ends.filter(|end| !end.trim().is_empty()).find(|end| rest.starts_with(*end));
        if let Some(same) = same {
            return Ok((begin + same.len(), true));
        }
        // Or with another end: the text itself, and the special token after it.
        let said = chat.messages[index].said().trim();
        let Some(found) = rest.find(said).filter(|_| !said.is_empty()) else {
            return Err(wrong(
                index,
                "is rewritten by the chat template",
                "split the conversation so that this answer is the last message",
            ));
        };
        Ok((begin + found + said.len(), false))
    }

    fn range(&self, text: &str, tokens: &Tokens, place: &Place) -> Range<usize> {
        let start = tokens.before(place.bytes.start);
        let start = match &place.prompt {
            // Where the tokenizer leaves white space out, offsets alone don't tell.
            Some(prompt) if tokens.ids.starts_with(prompt) => prompt.len(),
            _ => start,
        };
        let mut end = tokens.before(place.bytes.end);
        if place.trim {
            while end > start && self.is_blank(text, tokens, end - 1) {
                end -= 1;
            }
            return start..end;
        }
        let mut next = end;
        while next < tokens.ids.len() && self.is_blank(text, tokens, next) {
            next += 1;
        }
        let ends_turn = tokens.ids.get(next).is_some_and(|id| self.special_ids.contains(id));
        start..if ends_turn { next + 1 } else { end }
    }

    /// Whether a token is nothing but white space.
    fn is_blank(&self, text: &str, tokens: &Tokens, token: usize) -> bool {
        let (begin, end) = tokens.offsets[token];
        let special = self.special_ids.contains(&tokens.ids[token]);
        !special && text.get(begin..end).is_some_and(|text| text.trim().is_empty())
    }
}

impl Laid {
    fn checked(self, chat: Chat<'_>) -> Result<Self> {
        let learned = chat.messages.iter().enumerate().filter(|(_, m)| m.is_answer());
        for ((index, _), range) in learned.zip(&self.answers) {
            if range.is_empty() {
                return Err(wrong(index, "has no tokens of its own", "give every answer a text"));
            }
        }
        Ok(self)
    }
}

fn count_given(message: &Message, turn: &str, thoughts: &mut ThoughtUse) {
    if let Some(thought) = thought_of(message) {
        thoughts.given += 1;
        // The answer may have the same words.
        let before = turn.rfind(message.said().trim()).map_or(turn, |at| &turn[..at]);
        thoughts.left_out += usize::from(!before.contains(thought));
    }
}
