//! `[judges.NAME.guard]`

use std::fmt;
use std::path::PathBuf;

use host_data::OneOrMany;
use host_data::failure::{Failure as Error, Result};
use schemars::JsonSchema;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::preset::Preset;
use crate::kinds::local::given;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// As `model.source`.
    pub model: String,
    /// A known guard model, whose prompt and verdict the other keys then follow unless they are
    /// given.
    pub preset: Option<Preset>,
    /// What it is given. Default: the preset's, or our question.
    pub asks: Option<Asks>,
    /// Text that replaces our question, or the preset's instruction.
    pub question: Option<PathBuf>,
    /// How its verdict begins if the pair is harmful; one word or several. Default: unsafe.
    #[serde(deserialize_with = "words")]
    #[schemars(with = "OneOrMany<String>")]
    pub harmful: Vec<String>,
    /// How its verdict begins if it is not. Default: safe.
    #[serde(deserialize_with = "words")]
    #[schemars(with = "OneOrMany<String>")]
    pub harmless: Vec<String>,
    /// What it always says before the verdict, such as "Safety:".
    pub lead: Option<String>,
    /// What its verdict follows in a text that it writes itself, such as a thought; it is then
    /// let write, which takes longer than reading a verdict off the prompt.
    pub after: Option<String>,
    /// With `after`: most tokens that it may write before the verdict.
    pub max_new_tokens: usize,
    /// cpu, cuda or cuda:N.
    pub device: String,
}

/// What a guard model is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Asks {
    /// A user message with our question and, as JSON, the conversation.
    #[default]
    Question,
    /// The conversation alone: the model's own chat template asks, as Llama Guard's does.
    Conversation,
}

/// A word, or a list of them.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Words;
    impl<'de> Visitor<'de> for Words {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a word, or a list of words")
        }

        fn visit_str<E>(self, word: &str) -> Result<Self::Value, E> {
            Ok(vec![word.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut words = Vec::new();
            while let Some(word) = list.next_element()? {
                words.push(word);
            }
            Ok(words)
        }
    }
    deserializer.deserialize_any(Words)
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            model: String::new(),
            preset: None,
            asks: None,
            question: None,
            harmful: Vec::new(),
            harmless: Vec::new(),
            lead: None,
            after: None,
            max_new_tokens: 512,
            device: "cpu".into(),
        }
    }
}

impl GuardConfig {
    /// # Errors
    /// The first key that is missing or out of range.
    pub fn check(&self, name: &str) -> Result<()> {
        let blank = |words: &[String]| words.iter().any(|word| word.trim().is_empty());
        given(name, "guard", "model", self.model.is_empty())?;
        given(name, "guard", "harmful", blank(&self.harmful))?;
        given(name, "guard", "harmless", blank(&self.harmless))?;
        given(name, "guard", "after", self.after.as_ref().is_some_and(String::is_empty))?;
        if self.max_new_tokens == 0 {
            let key = format!("judges.{name}.guard.max_new_tokens");
            return Err(Error::config(key, "must be at least 1"));
        }
        Ok(())
    }
}
