//! What a tokenizer is made of, for whoever writes it in another format.

use serde_json::Value;
use tokenizers::Tokenizer;

use super::ChatTokenizer;
use super::files::read_json;
use crate::error::{Error, Result};

impl ChatTokenizer {
    /// The library's tokenizer, with all tokens that other files add.
    pub(crate) fn library(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The same as tokenizer.json has it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when it can't be written.
    pub(crate) fn json(&self) -> Result<Value> {
        let text = self.tokenizer.to_string(false).map_err(|error| error.to_string());
        let json = text.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string()));
        json.map_err(|problem| Error::tokenizer(problem, "check tokenizer.json"))
    }

    /// The template that took the place of the one of a GGUF file.
    pub(crate) fn replaced_template(&self) -> Option<&str> {
        self.files.get("chat_template.jinja").and(self.chat_template())
    }

    /// Whether a text without a template begins with the token that begins texts: as tokenizer_config.json says, else
    /// as tokenizer.json does it.
    pub(crate) fn begins_texts(&self) -> bool {
        let config = read_json(&self.files, "".as_ref(), "tokenizer_config.json");
        let stated = config.ok().and_then(|config| config["add_bos_token"].as_bool());
        let begins = || {
            let encoding = self.tokenizer.encode("a", true).ok()?;
            Some(*encoding.get_ids().first()? == self.id(&self.special.bos)?)
        };
        stated.or_else(begins).unwrap_or(false)
    }
}
