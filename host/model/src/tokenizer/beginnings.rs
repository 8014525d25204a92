//! Answers that begin otherwise than their prompts end.

use super::ChatTokenizer;
use super::layout::wrong;
use crate::error::{Error, Result};
use crate::message::Chat;

/// Two beginnings of an answer that should be the same, behind what they have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// How the prompt ends that the model is asked with.
    pub asked: String,
    /// What the template marks to be learned there.
    pub learned: String,
    /// Variable that makes them the same where it is false.
    pub switch: Option<&'static str>,
}

/// Variables that switch thinking off in templates.
const SWITCHES: [&str; 2] = ["enable_thinking", "thinking"];
/// Tokens and characters of a beginning that are shown.
const SHOWN_TOKENS: usize = 4;
const SHOWN_CHARACTERS: usize = 24;

impl ChatTokenizer {
    /// Whether the last answer goes on where its prompt ends; `learned` are the tokens up to its end.
    pub(super) fn unlike(&self, chat: Chat<'_>, learned: &[u32]) -> Result<Option<Unlike>> {
        let before = chat.until(chat.messages.len() - 1);
        // A template may refuse to be asked there, and then it isn't.
        let asked = self.encode_prompt(before).ok();
        let Some(asked) = asked.filter(|asked| !learned.starts_with(asked)) else {
            return Ok(None);
        };
        let off = |name: &&'static str| {
            let mut inputs = before.inputs.clone();
            inputs.kwargs.insert((*name).to_owned(), false.into());
            let asked = self.encode_prompt(Chat { inputs: &inputs, ..before });
            asked.is_ok_and(|asked| learned.starts_with(&asked))
        };
        let same = asked.iter().zip(learned).take_while(|(one, other)| one == other).count();
        // From a token earlier where the last one of the prompt was joined with what follows it.
        let shown = |tokens: &[u32]| {
            let from = same.saturating_sub(usize::from(same + 1 == asked.len()));
            let shown = tokens.iter().skip(from).take(SHOWN_TOKENS).copied();
            self.decode_with_special(&shown.collect::<Vec<_>>())
        };
        Ok(Some(Unlike {
            asked: shown(&asked)?,
            learned: shown(learned)?,
            switch: SWITCHES.into_iter().find(off),
        }))
    }

    /// The error for an answer that doesn't begin as its prompt ends.
    pub(super) fn begins_else(
        &self,
        chat: Chat<'_>,
        index: usize,
        (prompt, text): (&str, &str),
        base: usize,
    ) -> Error {
        let alone = self.render(chat.until(index + 1), false);
        let splits =
            index + 1 < chat.messages.len() && alone.is_ok_and(|it| it.starts_with(prompt));
        let action = if splits {
            "split the conversation so that this answer is the last message, or give another with --chat-template FILE"
        } else {
            "give a template whose prompt ends where its answers begin, with --chat-template FILE"
        };
        let shown = |text: &str| text.chars().take(SHOWN_CHARACTERS).collect::<String>();
        let (asked, written) =
            (shown(&prompt[base..]), shown(text.get(base..).unwrap_or_default()));
        let problem = format!(
            "begins with {written:?} in the whole conversation under this chat template, where the prompt goes on with {asked:?}"
        );
        wrong(index, &problem, action)
    }
}
