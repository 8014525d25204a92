//! A row as tokens.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use host_model::{Chat, Message, TemplateInputs};

use super::error::Place;
use super::origin::Origin;

/// A tokenised row. The label of answer token `p` is `tokens[p]`, predicted by
/// the decoder's row `p - 1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The id of its row.
    pub id: u64,
    pub origin: Origin,
    /// The row's, for judges, which read text.
    pub messages: Arc<[Message]>,
    /// As its row's.
    pub inputs: Arc<TemplateInputs>,
    pub tokens: Vec<u32>,
    /// Token ranges of the answers, end-of-turn tokens included: one per assistant
    /// message that is learned, ascending, not empty.
    pub answer: Vec<Range<usize>>,
    /// Tokens before the first answer, at least 1.
    pub prompt_len: usize,
    pub place: Place,
}

impl Sample {
    /// A prompt without an answer, for reading activations; `tokens` is not empty.
    pub fn prompt_only(tokens: Vec<u32>) -> Self {
        let prompt_len = tokens.len();
        let place = Place::line(&Path::new("prompt").into(), 0);
        Self {
            id: 0,
            origin: Origin::Task,
            messages: Arc::default(),
            inputs: Arc::default(),
            tokens,
            answer: Vec::new(),
            prompt_len,
            place,
        }
    }

    /// The conversation as a template renders it.
    pub fn chat(&self) -> Chat<'_> {
        Chat { messages: &self.messages, inputs: &self.inputs }
    }

    /// Number of answer tokens, over all answers.
    pub fn answer_tokens(&self) -> usize {
        self.answer.iter().map(ExactSizeIterator::len).sum()
    }

    /// Cuts the end off.
    pub(super) fn cut(&mut self, limit: usize) {
        self.tokens.truncate(limit);
        self.answer.retain(|answer| answer.start < limit);
        self.answer.iter_mut().for_each(|answer| answer.end = answer.end.min(limit));
    }
}
