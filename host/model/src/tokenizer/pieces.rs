//! Tokens one by one: their own text and bytes, and the text that grows with them.

use super::ChatTokenizer;
use crate::error::{Error, Result};

/// Tokens that may wait for the rest of a character. One has four bytes at most, so more are none.
const MOST_WAITING: usize = 8;

/// One token's part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenText {
    /// What it adds to a text before it; U+FFFD for a part of a character.
    pub text: String,
    /// Its bytes; none where the vocabulary doesn't tell those of a part of a character.
    pub bytes: Option<Vec<u8>>,
}

/// The text of tokens that come one after the other, special tokens included.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    /// Tokens before `told`, which decide how the next ones are written, and those that wait.
    tokens: Vec<u32>,
    /// How many of them are in the text already.
    told: usize,
}

impl ChatTokenizer {
    /// Token ids of a text with those that the tokenizer puts before and behind it, such as the one that begins a
    /// sequence: for a text that no chat template has written.
    ///
    /// # Errors
    /// As [`ChatTokenizer::encode`].
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encoding_of(text, true)?.get_ids().to_vec())
    }

    /// Whether an id is that of a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// The text that `token` adds to a stream; empty while a character isn't complete.
    ///
    /// # Errors
    /// As [`ChatTokenizer::decode`].
    pub fn add_token(&self, stream: &mut TextStream, token: u32) -> Result<String> {
        let before = self.decode_with_special(&stream.tokens)?;
        stream.tokens.push(token);
        let after = self.decode_with_special(&stream.tokens)?;
        let waiting = stream.tokens.len() - stream.told;
        if after.ends_with(char::REPLACEMENT_CHARACTER) && waiting < MOST_WAITING {
            return Ok(String::new());
        }
        let known = if waiting > 1 {
            self.decode_with_special(&stream.tokens[..stream.told])?
        } else {
            before
        };
        let Some(text) = after.strip_prefix(&known).map(str::to_owned) else {
            // What a decoder writes otherwise in company is told as it is alone.
            let alone = self.decode_with_special(&stream.tokens[stream.told..])?;
            stream.tokens.drain(..stream.told);
            stream.told = stream.tokens.len();
            return Ok(alone);
        };
        stream.tokens.drain(..stream.told);
        stream.told = stream.tokens.len();
        Ok(text)
    }

    /// The text and the bytes of one token behind others.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the id isn't of this tokenizer.
    pub fn token_text(&self, id: u32) -> Result<TokenText> {
        let Some(name) = self.token(id) else {
            return Err(Error::tokenizer(
                format!("the model has an id {id} that the tokenizer doesn't know"),
                "check that model and tokenizer belong together",
            ));
        };
        // Alone some tokens would lose the space that they begin with.
        let company = self.encode("a")?;
        let alone = self.decode_with_special(&company)?;
        let both = self.decode_with_special(&[company.as_slice(), &[id]].concat())?;
        let text = match both.strip_prefix(&alone) {
            Some(text) => text.to_owned(),
            None => self.decode_with_special(&[id])?,
        };
        let is_part = text.contains(char::REPLACEMENT_CHARACTER);
        let bytes = if is_part { part_bytes(&name) } else { Some(text.as_bytes().to_vec()) };
        Ok(TokenText { text, bytes })
    }
}

/// The bytes of a token of a byte-level vocabulary, or of `<0xNN>`.
fn part_bytes(name: &str) -> Option<Vec<u8>> {
    let byte = name.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    if let Some(byte) = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        return Some(vec![byte]);
    }
    name.chars().map(byte_of).collect()
}

/// The byte that a character of a byte-level vocabulary stands for: bytes that are visible characters of Latin 1 are
/// themselves, the others follow from U+0100 on, in order.
fn byte_of(c: char) -> Option<u8> {
    let is_visible = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let code = u32::from(c);
    if let Ok(byte) = u8::try_from(code) {
        return Some(byte).filter(is_visible);
    }
    let number = usize::try_from(code.checked_sub(256)?).ok()?;
    (0..=255u8).filter(|byte| !is_visible(byte)).nth(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_characters_have_the_bytes_of_the_vocabulary() {
        assert_eq!(part_bytes("<0xE2>"), Some(vec![0xe2]));
        // U+00E2 is itself, U+0122 the 34th byte that isn't visible.
        assert_eq!(part_bytes("\u{e2}\u{122}"), Some(vec![0xe2, 0x80]));
        assert_eq!(part_bytes("\u{120}"), Some(vec![b' ']));
        assert_eq!(part_bytes("\u{4e00}"), None);
    }
}
