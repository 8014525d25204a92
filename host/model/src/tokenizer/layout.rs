//! A conversation's text cut into tokens at the places where prompts end.

use super::ChatTokenizer;
use crate::error::{Error, Result};

/// Token ids and the bytes of the text that each stands for, as (begin, end).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The ids.
    pub ids: Vec<u32>,
    /// Where they stand.
    pub offsets: Vec<(usize, usize)>,
}

impl Tokens {
    /// Number of tokens that begin before a byte.
    pub fn before(&self, byte: usize) -> usize {
        self.offsets.partition_point(|(begin, _)| *begin < byte)
    }

    fn push(&mut self, piece: Tokens, at: usize) {
        self.ids.extend(piece.ids);
        self.offsets.extend(piece.offsets.iter().map(|(begin, end)| (at + begin, at + end)));
    }
}

impl ChatTokenizer {
    /// Tokens of a text of which no token reaches over one of the `cuts`, bytes in ascending order. A model that is
    /// asked with the text up to a cut sees just these tokens.
    pub(super) fn cut_tokens(&self, text: &str, cuts: &[usize]) -> Result<Tokens> {
        let first = cuts.first().copied().unwrap_or(text.len());
        let mut tokens = self.tokens(&text[..first])?;
        for (index, cut) in cuts.iter().enumerate() {
            let end = cuts.get(index + 1).copied().unwrap_or(text.len());
            tokens.push(self.continuation(&text[*cut..end])?, *cut);
        }
        Ok(tokens)
    }

    fn tokens(&self, text: &str) -> Result<Tokens> {
        let encoding = self.encoding(text)?;
        Ok(Tokens { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() })
    }

    /// Tokens of a text that stands behind another one. Tokenizers of the SentencePiece kind put a space before a text,
    /// which isn't there: so it is encoded behind a line's end or, if it would run into that, a special token.
    pub(super) fn continuation(&self, text: &str) -> Result<Tokens> {
        let special = self.special_ids.iter().min().and_then(|id| self.token(*id));
        for before in std::iter::once("\n".to_owned()).chain(special) {
            let known = self.tokens(&before)?.ids;
            let Tokens { ids, offsets } = self.tokens(&format!("{before}{text}"))?;
            let rest = offsets.get(known.len()..).unwrap_or_default();
            if ids.starts_with(&known) && rest.iter().all(|(begin, _)| *begin >= before.len()) {
                let back =
                    |(begin, end): &(usize, usize)| (begin - before.len(), end - before.len());
                let offsets = rest.iter().map(back).collect();
                return Ok(Tokens { ids: ids[known.len()..].to_vec(), offsets });
            }
        }
        self.tokens(text)
    }
}

/// Bytes at the beginning that two texts have in common, whole characters.
pub fn common_prefix(one: &str, other: &str) -> usize {
    let same = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    same.map_or(one.len().min(other.len()), |((at, _), _)| at)
}

/// An answer that can't be laid out.
pub(super) fn wrong(index: usize, problem: &str, action: &str) -> Error {
    Error::template(format!("message {} (assistant) {problem}", index + 1), action)
}
