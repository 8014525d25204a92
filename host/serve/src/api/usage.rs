//! Tokens that a request came to.

use serde_json::{Value, json};

use crate::engine::Answer;

/// Counts of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of prompts, each counted once.
    pub prompt: usize,
    /// Of all answers, thoughts included.
    pub generated: usize,
    /// Of thoughts.
    pub thought: usize,
}

impl Usage {
    /// Adds an answer.
    pub fn add(&mut self, answer: &Answer) {
        self.generated += answer.tokens;
        self.thought += answer.thought_tokens;
    }

    /// As the API has it.
    pub fn json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.generated,
            "total_tokens": self.prompt + self.generated,
            "completion_tokens_details": {"reasoning_tokens": self.thought},
        })
    }
}
