//! Thoughts and answers while they are generated.

use super::ChatTokenizer;
use super::thoughts::Opened;
use crate::error::Result;
use crate::thinking::MARKS;

/// Where an answer that is being generated has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Its text may still become the mark that begins a thought.
    Undecided,
    /// It thinks: from this byte of its text on, up to the first of these marks.
    Thinking {
        /// Where the thought begins.
        from: usize,
        /// What ends it.
        ends: Vec<String>,
    },
    /// It speaks: from this byte of its text on.
    Speaking {
        /// Where the answer begins.
        from: usize,
    },
}

impl ChatTokenizer {
    /// Whether a text that a model has generated behind `prompt`, special tokens included, thinks or speaks. An answer
    /// that ends a thought is told by [`ChatTokenizer::spoken`].
    ///
    /// # Errors
    /// As [`ChatTokenizer::decode`].
    pub fn stage(&self, prompt: &[u32], text: &str) -> Result<Stage> {
        let own = self.thoughts.own_close();
        let ends = |close: &str| {
            let ends = [own, close].into_iter().filter(|end| !end.is_empty());
            ends.map(str::to_owned).collect()
        };
        if let Some(Opened { rest, close }) = self.in_thought(prompt, text)? {
            return Ok(Stage::Thinking { from: text.len() - rest.len(), ends: ends(close) });
        }
        let begin = text.trim_start();
        let without = self.thoughts.without_thought();
        if !without.is_empty()
            && let Some(rest) = begin.strip_prefix(without)
        {
            return Ok(Stage::Speaking { from: text.len() - rest.len() });
        }
        let mut marks =
            MARKS.iter().map(|(open, _)| *open).chain([without, self.thoughts.own_open()]);
        let is_begun = marks.any(|mark| mark.len() > begin.len() && mark.starts_with(begin));
        Ok(if is_begun { Stage::Undecided } else { Stage::Speaking { from: 0 } })
    }
}
