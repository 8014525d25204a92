//! The name of a policy.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Lower-case words joined by '-', at most 64 characters: what a host accepts as the
/// name in a descriptor, and what is a good name for a file everywhere.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(letter);
        if text.len() <= 64 && text.split('-').all(is_word) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::Name { name: text.to_owned() })
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_lower_case_words_joined_by_dashes() {
        for good in ["surprise", "my-policy-2", "8", &"a".repeat(64)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in ["", "-", "-a", "a-", "a--b", "Risk", "a_b", "a b", "a/b", "..", "ä", &long] {
            let error = bad.parse::<Name>().unwrap_err().to_string();
            assert!(error.contains("joined by '-'"), "{bad}: {error}");
        }
    }
}
