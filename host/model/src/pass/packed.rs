//! Sequences of different lengths, concatenated without padding.

use std::ops::Range;

use crate::config::Config;
use crate::error::{Error, Result};

/// A batch: no row is padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Token ids of all sequences.
    pub tokens: Vec<u32>,
    /// First row of every sequence, then the number of rows: sequences + 1.
    pub starts: Vec<usize>,
}

impl Packed {
    /// Packs sequences in their order.
    pub fn from_sequences<S: AsRef<[u32]>>(sequences: &[S]) -> Self {
        let mut tokens = Vec::new();
        let mut starts = vec![0];
        for sequence in sequences {
            tokens.extend_from_slice(sequence.as_ref());
            starts.push(tokens.len());
        }
        Self { tokens, starts }
    }

    /// Number of sequences.
    pub fn num_sequences(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Rows of the batch: the tokens of all sequences.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Row ranges of the sequences, in order.
    pub fn sequences(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        self.starts.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// Refuses an empty batch or sequence, starts that do not cover the rows,
    /// a token outside the vocabulary and a sequence that is too long.
    pub(crate) fn validate(&self, config: &Config) -> Result<()> {
        let covered = self.starts.first() == Some(&0)
            && self.starts.last() == Some(&self.tokens.len())
            && self.starts.is_sorted();
        if !covered || self.tokens.is_empty() {
            return Err(Error::batch(
                format!(
                    "{} tokens do not match sequence starts {:?}",
                    self.tokens.len(),
                    self.starts
                ),
                "build it with Packed::from_sequences and at least one token",
            ));
        }
        for (index, rows) in self.sequences().enumerate() {
            if rows.is_empty() || rows.len() > config.max_position {
                return Err(Error::batch(
                    format!("sequence {index} has {} tokens", rows.len()),
                    format!("give 1 to {}", config.max_position),
                ));
            }
        }
        check_tokens(config, &self.tokens)
    }
}

pub(crate) fn check_tokens(config: &Config, tokens: &[u32]) -> Result<()> {
    match tokens.iter().find(|id| **id as usize >= config.vocab_size) {
        None => Ok(()),
        Some(id) => Err(Error::batch(
            format!("token {id} is outside the vocabulary of {}", config.vocab_size),
            "use the model's own tokenizer",
        )),
    }
}
