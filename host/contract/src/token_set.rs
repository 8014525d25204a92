//! Safety tokens: what the divergence over a set of tokens is taken over.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift};

use crate::invalid::Invalid;

/// Safety tokens that a policy wants picked before the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct TokenSet {
    /// Number of tokens.
    pub count: u32,
    /// What both models' logits are divided by.
    pub temperature: f64,
}

impl TokenSet {
    /// # Errors
    /// The first field that is out of range.
    pub(crate) fn check(&self, vocabulary: u32) -> Result<(), Invalid> {
        let most = vocabulary.min(4096);
        if !(2..=most).contains(&self.count) {
            let problem = format!("is {}; it must be from 2 to {most}", self.count);
            return Err(Invalid::new("needs.token-set.count", problem));
        }
        if !(0.1..=10.0).contains(&self.temperature) {
            let problem = format!("is {}; it must be from 0.1 to 10", self.temperature);
            return Err(Invalid::new("needs.token-set.temperature", problem));
        }
        Ok(())
    }

    /// In words.
    pub(crate) fn summary(&self) -> String {
        format!("{} safety tokens at temperature {}", self.count, self.temperature)
    }
}
