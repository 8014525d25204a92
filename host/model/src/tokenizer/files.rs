//! The files of a tokenizer and how they are read.

use std::collections::BTreeMap;
use std::path::Path;

use host_files::{capped, quiet};
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::error::{Error, Result};

/// Files beside tokenizer.json that say how text is handled, by their names in a Hugging Face folder.
pub const SIDE_FILES: [&str; 5] = [
    "added_tokens.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
];

/// Folder of further templates beside chat_template.jinja, `NAME.jinja` each, as transformers 5 saves them.
pub const FURTHER_TEMPLATES: &str = "additional_chat_templates";

/// tokenizer.json and [`SIDE_FILES`], name to bytes, as found (or made, for GGUF).
pub type TokenizerFiles = BTreeMap<String, Vec<u8>>;

/// Read a tokenizer.json.
///
/// # Errors
/// [`Error::File`] when the content isn't a tokenizer, [`Error::Io`] when it can't be read.
pub fn read_file(path: &Path) -> Result<Tokenizer> {
    let bytes = capped::read(path, crate::budget::TOKENIZER).map_err(|e| Error::io(path, e))?;
    parse(path, &bytes)
}

/// As [`read_file`], of the file's content.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Tokenizer> {
    // Some damaged files end in a panic of the library.
    let parsed = quiet::catch(|| Tokenizer::from_bytes(bytes).map_err(|e| e.to_string()));
    let mut tokenizer = parsed.and_then(|parsed| parsed).map_err(|e| {
        let problem = format!("isn't a valid tokenizer.json ({})", e.replace('\n', " "));
        Error::file(path, problem, "fetch the file again")
    })?;
    // Some files carry the settings of the last call in Python; sequences must stay whole and unpadded here.
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(None)
        .map_err(|e| Error::tokenizer(e.to_string(), "fetch tokenizer.json again"))?;
    Ok(tokenizer)
}

/// Whether special_tokens_map.json comes before tokenizer_config.json, as in transformers.
pub(crate) fn map_counts(config: &Value) -> bool {
    config.get("added_tokens_decoder").is_none()
}

pub(crate) fn read_json(files: &TokenizerFiles, origin: &Path, name: &str) -> Result<Value> {
    let Some(bytes) = files.get(name) else {
        return Ok(Value::Null);
    };
    serde_json::from_slice(bytes).map_err(|e| {
        Error::file(origin.join(name), format!("isn't valid JSON: {e}"), "fetch the file again")
    })
}

/// The text of the token that a file names so.
pub(crate) fn token_text(config: &Value, name: &str) -> Option<String> {
    text_of(config.get(name)?).map(str::to_owned)
}

/// `"<s>"` or `{"content": "<s>", …}`
pub(super) fn text_of(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

pub(crate) fn id_list(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}
