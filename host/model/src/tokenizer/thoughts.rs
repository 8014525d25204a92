//! Where thinking ends and the answer begins, by what the chat template writes.

use super::ChatTokenizer;
use super::layout::common_prefix;
use crate::error::Result;
use crate::message::{Chat, Content, Message};
use crate::thinking::{MARKS, closed};

/// How a template writes a thought before an answer. Empty for one that writes none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThoughtStyle {
    /// Between the generation prompt and the thought; empty where the prompt opens the thought.
    open: String,
    /// Between the thought and the answer.
    close: String,
    /// Between the generation prompt and an answer without a thought.
    without: String,
    /// Whether the template's generation prompt begins a thought.
    prompted: bool,
}

impl ThoughtStyle {
    /// What begins a thought, without white space around.
    pub(super) fn own_open(&self) -> &str {
        self.open.trim()
    }

    /// What ends a thought, likewise.
    pub(super) fn own_close(&self) -> &str {
        self.close.trim()
    }

    /// What stands before an answer without a thought, likewise.
    pub(super) fn without_thought(&self) -> &str {
        self.without.trim()
    }
}

/// A thought that has begun.
pub(super) struct Opened<'t> {
    /// What belongs to it and follows it.
    pub rest: &'t str,
    /// The mark that ends it.
    pub close: &'t str,
}

/// What became of thoughts when conversations were rendered, counted over answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThoughtUse {
    /// Answers that have a thought of their own in their row.
    pub given: usize,
    /// Of these, the ones whose thought isn't in what is rendered: the template leaves it out.
    pub left_out: usize,
    /// Answers behind a prompt that begins a thought, for which the row has none: an empty one was put there.
    pub emptied: usize,
    /// Answers within a conversation that the template writes without the thinking that its prompt begins.
    pub earlier: usize,
}

impl std::ops::AddAssign for ThoughtUse {
    fn add_assign(&mut self, other: Self) {
        self.given += other.given;
        self.left_out += other.left_out;
        self.emptied += other.emptied;
        self.earlier += other.earlier;
    }
}

/// What a model generated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spoken {
    /// What it thought first, if it did.
    pub thought: Option<String>,
    /// What it said then.
    pub answer: String,
    /// Whether the thought ended; if not, nothing is said.
    pub finished: bool,
    /// Tokens of the thought, its marks included.
    pub thought_tokens: usize,
}

/// Words that no template has.
const WORDS: [&str; 2] = ["Qzxv wvut", "Jkyq hmnb"];
/// Tokens of a prompt that can show that it begins a thought.
const LAST_TOKENS: usize = 24;

impl ChatTokenizer {
    /// Tries the template with words of our own.
    pub(super) fn thought_style(&self) -> ThoughtStyle {
        let asked = [Message::user("a")];
        let Ok(prompt) = self.render(&asked, true) else { return ThoughtStyle::default() };
        let answered = |reasoning: Option<&str>| -> Option<String> {
            let reasoning = reasoning.map(str::to_owned);
            let answer = Message { reasoning, ..Message::assistant(WORDS[1]) };
            self.render(&[asked[0].clone(), answer], false).ok()
        };
        let prompted = opened(&prompt).is_some();
        let mut style = ThoughtStyle { prompted, ..ThoughtStyle::default() };
        let after_prompt = |text: &str| {
            let begin = common_prefix(&prompt, text);
            text[begin..].to_owned()
        };
        if let Some((without, _)) = answered(None)
            .as_deref()
            .map(after_prompt)
            .as_deref()
            .and_then(|it| it.split_once(WORDS[1]))
        {
            style.without = without.to_owned();
        }
        let thought = answered(Some(WORDS[0])).as_deref().map(after_prompt).unwrap_or_default();
        if let Some((open, rest)) = thought.split_once(WORDS[0])
            && let Some((close, _)) = rest.split_once(WORDS[1])
        {
            style.open = open.to_owned();
            style.close = close.to_owned();
        }
        style
    }

    /// Whether the chat template writes thoughts, or its generation prompt begins one.
    pub fn thinks(&self) -> bool {
        let style = &self.thoughts;
        style.prompted || !style.close.trim().is_empty() || !style.without.trim().is_empty()
    }

    /// What ends the thought that a prompt begins, as the template writes it; none if the prompt begins none.
    pub(super) fn close_of(&self, prompt: &str) -> Option<String> {
        let (behind, close) = opened(prompt)?;
        Some(self.closing(close, behind))
    }

    /// The mark that ends a thought, as the template writes it; where it writes none, with what stands behind the
    /// mark that begins the thought.
    fn closing(&self, close: &str, behind: &str) -> String {
        if self.thoughts.close.trim() == close {
            return self.thoughts.close.clone();
        }
        if behind.contains('\n') { format!("\n{close}\n\n") } else { close.to_owned() }
    }

    /// The text of a conversation up to the first word of the answer: behind the generation prompt stands what the
    /// template writes before an answer without a thought, such as an empty one.
    ///
    /// # Errors
    /// As [`ChatTokenizer::render`] and [`ChatTokenizer::encode`].
    pub fn render_to_answer<'a>(&self, chat: impl Into<Chat<'a>>) -> Result<String> {
        let chat = chat.into();
        let prompt = self.render(chat, true)?;
        let opening = self.opening(chat, &prompt);
        Ok(prompt + &opening)
    }

    /// Tokens of [`ChatTokenizer::render_to_answer`], of which no one reaches over the end of the generation prompt.
    ///
    /// # Errors
    /// As [`ChatTokenizer::render`] and [`ChatTokenizer::encode`].
    pub fn encode_to_answer<'a>(&self, chat: impl Into<Chat<'a>>) -> Result<Vec<u32>> {
        let chat = chat.into();
        let prompt = self.render(chat, true)?;
        let opening = self.opening(chat, &prompt);
        let (tokens, whole) = (self.encode(&prompt)?, self.encode(&format!("{prompt}{opening}"))?);
        if whole.starts_with(&tokens) {
            return Ok(whole);
        }
        Ok([tokens, self.continuation(&opening)?.ids].concat())
    }

    /// What stands between a generation prompt and the first word of an answer without a thought.
    fn opening(&self, chat: Chat<'_>, prompt: &str) -> String {
        if let Some(close) = self.close_of(prompt) {
            return close;
        }
        let answered = |word: &str| {
            let messages = [chat.messages, &[Message::assistant(word)]].concat();
            self.render(Chat { messages: &messages, ..chat }, false).ok()
        };
        let heads = WORDS.map(answered);
        let [Some(one), Some(other)] = heads else { return String::new() };
        let head = &one[..common_prefix(&one, &other)];
        head.strip_prefix(prompt).unwrap_or_default().to_owned()
    }

    /// What a model said behind a prompt, its thought cut off. `prompt` are the tokens it was asked with.
    ///
    /// # Errors
    /// As [`ChatTokenizer::decode`].
    pub fn spoken(&self, prompt: &[u32], generated: &[u32]) -> Result<Spoken> {
        let said = |answer: String| Spoken { answer, finished: true, ..Spoken::default() };
        let text = self.decode_with_special(generated)?;
        let without = self.thoughts.without.trim();
        let (rest, found) = if let Some(Opened { rest, close }) = self.in_thought(prompt, &text)? {
            let own = self.thoughts.close.trim();
            let ends = [own, close].into_iter().filter(|end| !end.is_empty());
            (rest, ends.filter_map(|end| Some((rest.find(end)?, end.len()))).min())
        } else {
            let cut = text.trim_start().strip_prefix(without).filter(|_| !without.is_empty());
            if let Some(rest) = cut {
                return Ok(said(self.plain(rest.trim_start())));
            }
            // It may have learned thoughts of which the data didn't show the begin.
            let Some(mark) = closed(&text) else { return Ok(said(self.decode(generated)?)) };
            (&*text, Some((mark.start, mark.len())))
        };
        let thought = |text: &str| Some(self.plain(text.trim())).filter(|text| !text.is_empty());
        let Some((at, length)) = found else {
            let thought_tokens = generated.len();
            return Ok(Spoken { thought: thought(rest), thought_tokens, ..Spoken::default() });
        };
        let end = text.len() - rest.len() + at + length;
        let thought_tokens = self.tokens_up_to(generated, end)?;
        let answer = self.plain(rest[at + length..].trim_start());
        Ok(Spoken { thought: thought(&rest[..at]), answer, finished: true, thought_tokens })
    }

    /// Tokens whose text reaches `end` bytes, the fewest. Texts grow with their tokens but within a character that
    /// several tokens make, so the last steps go one by one.
    fn tokens_up_to(&self, tokens: &[u32], end: usize) -> Result<usize> {
        let reaches = |count: usize| -> Result<bool> {
            Ok(self.decode_with_special(&tokens[..count])?.len() >= end)
        };
        let (mut short, mut enough) = (0, tokens.len());
        while short < enough {
            let middle = usize::midpoint(short, enough);
            if reaches(middle)? {
                enough = middle;
            } else {
                short = middle + 1;
            }
        }
        while enough > 0 && reaches(enough - 1)? {
            enough -= 1;
        }
        Ok(enough)
    }

    /// Tokens that end the thought which a model has begun behind a prompt and not ended.
    ///
    /// # Errors
    /// As [`ChatTokenizer::decode`].
    pub fn end_of_thought(&self, prompt: &[u32], generated: &[u32]) -> Result<Vec<u32>> {
        let text = self.decode_with_special(generated)?;
        let asked = self.decode_with_special(last(prompt))?;
        let close = match opened(&asked) {
            Some((behind, close)) => self.closing(close, behind),
            None => match self.begins_thought(&text) {
                Some((rest, close)) => self.closing(close, spaces(rest)),
                None => return Ok(Vec::new()),
            },
        };
        Ok(self.continuation(&close)?.ids)
    }

    /// The thought that a prompt, or the text behind it, begins; none where there is none.
    pub(super) fn in_thought<'t>(
        &'t self,
        prompt: &[u32],
        text: &'t str,
    ) -> Result<Option<Opened<'t>>> {
        let begun = || self.begins_thought(text).map(|(rest, close)| Opened { rest, close });
        Ok(match opened(&self.decode_with_special(last(prompt))?) {
            Some((_, close)) => Some(Opened { rest: text, close }),
            None => begun(),
        })
    }

    /// The text behind the mark that begins a thought, and the mark that ends it.
    fn begins_thought<'t>(&'t self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let text = text.trim_start();
        let own = (self.thoughts.open.trim(), self.thoughts.close.trim());
        let own = Some(own).filter(|(open, close)| !open.is_empty() && !close.is_empty());
        let marks = own.into_iter().chain(MARKS);
        marks.into_iter().find_map(|(open, close)| Some((text.strip_prefix(open)?, close)))
    }

    /// A text without special tokens.
    pub fn plain(&self, text: &str) -> String {
        let special = self.special_ids.iter().filter_map(|id| self.token(*id));
        let special = special.filter(|token| !token.is_empty());
        special.fold(text.to_owned(), |text, token| text.replace(&token, ""))
    }
}

/// What stands behind the mark of the thought that a prompt begins and doesn't end, and the mark that ends it.
pub(super) fn opened(prompt: &str) -> Option<(&str, &'static str)> {
    let end = prompt.trim_end();
    let mark = MARKS.iter().find(|(open, _)| end.ends_with(open));
    mark.map(|(_, close)| (&prompt[end.len()..], *close))
}

/// The byte of the mark of the thought that a prompt begins; its end if it begins none.
pub(super) fn opening_of(prompt: &str) -> usize {
    let end = prompt.trim_end();
    let mark = MARKS.iter().find_map(|(open, _)| end.strip_suffix(open));
    mark.map_or(prompt.len(), str::len)
}

/// The tokens of a prompt that can show that it begins a thought.
fn last(prompt: &[u32]) -> &[u32] {
    &prompt[prompt.len().saturating_sub(LAST_TOKENS)..]
}

/// The white space that a text begins with.
fn spaces(text: &str) -> &str {
    &text[..text.len() - text.trim_start().len()]
}

/// Whether the end of a prompt is a thought, begun or empty.
pub(super) fn is_thought(text: &str) -> bool {
    let text = text.trim();
    MARKS.iter().any(|(open, close)| text.ends_with(open) || text.ends_with(close))
}

/// A message as if it had not been thought about.
pub(super) fn without_thought(message: &Message) -> Message {
    let said = message.said();
    let content = if said.len() == message.content.len() {
        message.content.clone()
    } else {
        Content::from(said)
    };
    Message { reasoning: None, content, ..message.clone() }
}

/// What a message's author thought: beside the content, or at its beginning.
pub(super) fn thought_of(message: &Message) -> Option<&str> {
    let beside = message.reasoning.as_deref().map(str::trim).filter(|thought| !thought.is_empty());
    beside.or_else(|| {
        crate::thinking::split(&message.content).0.filter(|thought| !thought.is_empty())
    })
}
