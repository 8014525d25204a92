//! The tokenizer inside a GGUF file, rebuilt as the tokenizer.json of the same model.

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use serde_json::json;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use crate::error::{Error, Result};
use crate::tokenizer::ChatTokenizer;

const NEXT: &str = "put the tokenizer.json of the original model into the folder of the GGUF file";
/// Files of a Hugging Face folder that a GGUF file takes the place of.
const BESIDE: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];
/// llama.cpp's token types that matter here.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// Rebuild the tokenizer of a GGUF file. A byte-level BPE with a known pre-tokenizer is rebuilt from the metadata;
/// for others a tokenizer.json beside the file is used when its vocabulary is the file's. The second is a line for
/// everything beside the file, or in its metadata, that isn't used.
///
/// # Errors
/// [`Error::File`] when a key is missing or the tokenizer is of a kind that can't be rebuilt.
pub fn read(
    path: &Path,
    metadata: &HashMap<String, Value>,
    max_position: usize,
) -> Result<(ChatTokenizer, Vec<String>)> {
    let source = Metadata { path, metadata };
    let tokens = source.strings("tokenizer.ggml.tokens")?;
    let mut notices = Vec::new();
    let tokenizer = match source.rebuilt(&tokens) {
        Ok(tokenizer) => {
            notices.extend(source.unread(&["tokenizer.json"]));
            tokenizer
        }
        Err(error) => {
            let reason = error.to_string();
            let tokenizer = source.beside(&tokens)?.ok_or(error)?;
            // The reason ends with the advice that was followed.
            let reason = reason.split("; ").next().unwrap_or_default().to_owned();
            notices.push(format!("{reason}; the tokenizer.json beside it is used"));
            tokenizer
        }
    };
    notices.extend(source.unread(&BESIDE));
    let template = source.template(&tokens, &mut notices);
    let json = tokenizer
        .to_string(false)
        .map_err(|e| source.fail(format!("its tokenizer can't be rebuilt: {e}")))?;
    let files = [
        ("tokenizer.json", json),
        (
            "tokenizer_config.json",
            source.tokenizer_config(&tokens, template, max_position).to_string(),
        ),
        ("generation_config.json", source.generation_config().to_string()),
    ];
    let files =
        files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    Ok((ChatTokenizer::new(tokenizer, files, path, &[])?, notices))
}

struct Metadata<'a> {
    path: &'a Path,
    metadata: &'a HashMap<String, Value>,
}

impl Metadata<'_> {
    fn fail(&self, problem: impl Into<String>) -> Error {
        Error::file(self.path, problem, NEXT)
    }

    fn string(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    fn strings(&self, key: &str) -> Result<Vec<String>> {
        let Some(Value::Array(list)) = self.metadata.get(key) else {
            return Err(self.fail(format!("metadata {key} is missing")));
        };
        list.iter()
            .map(|value| value.to_string().cloned())
            .collect::<candle_core::Result<_>>()
            .map_err(|_| self.fail(format!("metadata {key} isn't a list of strings")))
    }

    /// The id that `tokenizer.ggml.NAME_token_id` holds.
    fn token_id(&self, name: &str) -> Option<u32> {
        let id = self.metadata.get(&format!("tokenizer.ggml.{name}_token_id")).and_then(whole)?;
        u32::try_from(id).ok()
    }

    /// A line about files beside the GGUF file that aren't read.
    fn unread(&self, names: &[&str]) -> Option<String> {
        let there = names.iter().filter(|name| self.path.with_file_name(name).is_file());
        let there: Vec<&str> = there.copied().collect();
        let path = self.path.display();
        (!there.is_empty()).then(|| {
            format!(
                "{path}: what lies beside it isn't read: {}; the file's own metadata counts",
                there.join(", ")
            )
        })
    }

    /// The chat template. llama.cpp puts the first token before a prompt whose template doesn't, if the file asks for it.
    fn template(&self, tokens: &[String], notices: &mut Vec<String>) -> Option<String> {
        let template = self.string("tokenizer.chat_template")?;
        let flag = |name: &str| match self.metadata.get(&format!("tokenizer.ggml.{name}")) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        };
        let path = self.path.display();
        if flag("add_eos_token") == Some(true) {
            notices.push(format!(
                "{path}: `tokenizer.ggml.add_eos_token` isn't read: the chat template ends a turn"
            ));
        }
        // Of the kinds that are rebuilt this one begins with it unless told otherwise.
        let begins =
            matches!(self.string("tokenizer.ggml.pre"), Some("llama-bpe" | "llama3" | "llama-v3"));
        let bos = self.token_id("bos").and_then(|id| tokens.get(id as usize));
        let Some(bos) = bos.filter(|_| flag("add_bos_token").unwrap_or(begins)) else {
            return Some(template.to_owned());
        };
        if template.contains("bos_token") || template.contains(bos.as_str()) {
            return Some(template.to_owned());
        }
        notices.push(format!(
            "{path}: {bos:?} is put before the text of the chat template, which doesn't write it: `tokenizer.ggml.add_bos_token` is {}, as in llama.cpp",
            flag("add_bos_token").map_or("true for this tokenizer", |_| "true")
        ));
        Some(format!("{{{{ bos_token }}}}{template}"))
    }

    /// What the model's tokenizer_config.json says about special tokens and the chat template.
    fn tokenizer_config(
        &self,
        tokens: &[String],
        template: Option<String>,
        max_position: usize,
    ) -> serde_json::Value {
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_position,
            "clean_up_tokenization_spaces": false,
        });
        for (field, name) in
            [("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")]
        {
            if let Some(text) = self.token_id(name).and_then(|id| tokens.get(id as usize)) {
                config[format!("{field}_token")] = json!(text);
            }
        }
        if let Some(template) = template {
            config["chat_template"] = json!(template);
        }
        config
    }

    /// The tokens that end a text or a turn.
    fn generation_config(&self) -> serde_json::Value {
        let mut config = json!({});
        if let Some(bos) = self.token_id("bos") {
            config["bos_token_id"] = json!(bos);
        }
        if let Some(pad) = self.token_id("padding") {
            config["pad_token_id"] = json!(pad);
        }
        let mut eos: Vec<u32> =
            ["eos", "eot", "eom"].iter().filter_map(|name| self.token_id(name)).collect();
        eos.dedup();
        if !eos.is_empty() {
            config["eos_token_id"] = json!(eos);
        }
        config
    }

    fn rebuilt(&self, tokens: &[String]) -> Result<Tokenizer> {
        let model = self.string("tokenizer.ggml.model").unwrap_or("(missing)");
        if model != "gpt2" {
            return Err(self.fail(format!(
                "its tokenizer is of kind `{model}`; only byte-level BPE (gpt2) is rebuilt"
            )));
        }
        let kind = self.string("tokenizer.ggml.pre").unwrap_or("(missing)");
        let pre = PreTokenizer::from_name(kind).ok_or_else(|| {
            let known = PRE_TOKENIZERS.join(", ");
            self.fail(format!("its pre-tokenizer `{kind}` isn't known (known: {known})"))
        })?;
        let bpe = self.byte_pair_encoding(tokens, pre)?;
        let invalid =
            |e: tokenizers::Error| self.fail(format!("its tokenizer can't be rebuilt: {e}"));
        let mut tokenizer = Tokenizer::new(bpe);
        if pre == PreTokenizer::Qwen2 {
            tokenizer.with_normalizer(Some(NFC)).map_err(invalid)?;
        }
        tokenizer.with_pre_tokenizer(Some(pre.build().map_err(invalid)?));
        tokenizer.with_decoder(Some(ByteLevel::new(false, true, true)));
        self.add_tokens(&mut tokenizer, tokens)?;
        Ok(tokenizer)
    }

    fn byte_pair_encoding(&self, tokens: &[String], pre: PreTokenizer) -> Result<BPE> {
        let vocabulary: HashMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
        if vocabulary.len() != tokens.len() {
            return Err(self.fail("its vocabulary holds a token twice"));
        }
        let merges = self
            .strings("tokenizer.ggml.merges")?
            .iter()
            .map(|merge| merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| self.fail("metadata tokenizer.ggml.merges isn't a list of pairs"))?;
        BPE::builder()
            .vocab_and_merges(
                vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
                merges,
            )
            .ignore_merges(pre.takes_whole_pieces())
            .build()
            .map_err(|e| self.fail(format!("its tokenizer can't be rebuilt: {e}")))
    }

    /// Control tokens (never split, left out when decoding) and user-defined ones (never split).
    fn add_tokens(&self, tokenizer: &mut Tokenizer, tokens: &[String]) -> Result<()> {
        let Some(Value::Array(types)) = self.metadata.get("tokenizer.ggml.token_type") else {
            return Err(self.fail("metadata tokenizer.ggml.token_type is missing"));
        };
        let added = tokens.iter().zip(types).filter_map(|(token, kind)| match whole(kind)? {
            CONTROL => Some(AddedToken::from(token, true)),
            USER_DEFINED => Some(AddedToken::from(token, false).normalized(false)),
            _ => None,
        });
        let added: Vec<AddedToken> = added.collect();
        tokenizer
            .add_tokens(added)
            .map_err(|e| self.fail(format!("its special tokens can't be added: {e}")))?;
        Ok(())
    }

    /// tokenizer.json in the folder of the file, if it is this model's.
    fn beside(&self, tokens: &[String]) -> Result<Option<Tokenizer>> {
        let path = self.path.with_file_name("tokenizer.json");
        if !path.is_file() {
            return Ok(None);
        }
        let tokenizer = crate::tokenizer::read_file(&path)?;
        let differs = (0..)
            .zip(tokens)
            .find(|(id, token)| tokenizer.id_to_token(*id).is_some_and(|t| t != **token));
        match differs {
            None => Ok(Some(tokenizer)),
            Some((id, token)) => {
                let problem = format!(
                    "isn't the tokenizer of {}: token {id} is `{token}` there",
                    self.path.display()
                );
                Err(Error::file(path, problem, "put the tokenizer.json of the same model there"))
            }
        }
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::I32(number) => Some(i64::from(*number)),
        Value::I64(number) => Some(*number),
        other => other.to_u64().ok().and_then(|number| i64::try_from(number).ok()),
    }
}

/// The values of `tokenizer.ggml.pre` that are known, each kind once.
pub(super) const PRE_TOKENIZERS: [&str; 4] = ["smollm", "gpt-2", "llama-bpe", "qwen2"];

/// How text is cut before byte pairs are merged. Each is what the tokenizer.json of those models says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreTokenizer {
    Gpt2,
    SmolLm,
    Llama3,
    Qwen2,
}

impl PreTokenizer {
    /// By the value of `tokenizer.ggml.pre`.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "gpt-2" | "gpt2" => Some(Self::Gpt2),
            "smollm" => Some(Self::SmolLm),
            "llama-bpe" | "llama3" | "llama-v3" => Some(Self::Llama3),
            "qwen2" => Some(Self::Qwen2),
            _ => None,
        }
    }

    /// Whether a piece that is a token is taken whole, before any merge.
    pub(super) fn takes_whole_pieces(self) -> bool {
        self == Self::Llama3
    }

    pub(super) fn build(self) -> tokenizers::Result<PreTokenizerWrapper> {
        // Whether words are cut by GPT-2's expression, or were cut by another one already.
        let bytes = |own_expression| ByteLevel::new(false, true, own_expression);
        Ok(match self {
            Self::Gpt2 => bytes(true).into(),
            Self::SmolLm => {
                Sequence::new(vec![Digits::new(true).into(), bytes(true).into()]).into()
            }
            Self::Llama3 => Sequence::new(vec![words("{1,3}")?, bytes(false).into()]).into(),
            Self::Qwen2 => Sequence::new(vec![words("")?, bytes(false).into()]).into(),
        })
    }
}

/// The expression that Llama 3 and Qwen 2 share but for the length of a group of digits.
fn words(digits: &str) -> tokenizers::Result<PreTokenizerWrapper> {
    let expression = [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        &format!(r"\p{{N}}{digits}"),
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
    .join("|");
    Ok(Split::new(SplitPattern::Regex(expression), SplitDelimiterBehavior::Isolated, false)?.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

    fn pieces(kind: &str, text: &str) -> Vec<String> {
        let mut pieces = PreTokenizedString::from(text);
        PreTokenizer::from_name(kind).unwrap().build().unwrap().pre_tokenize(&mut pieces).unwrap();
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(piece, _, _)| piece.replace('Ġ', "_")).collect()
    }

    #[test]
    fn digits_and_spaces_are_cut_as_each_model_does() {
        let text = "I'M in 1234  rooms";
        assert_eq!(pieces("gpt-2", text), ["I", "'", "M", "_in", "_1234", "_", "_rooms"]);
        assert_eq!(
            pieces("smollm", text),
            ["I", "'", "M", "_in", "_", "1", "2", "3", "4", "_", "_rooms"]
        );
        assert_eq!(pieces("llama-bpe", text), ["I", "'M", "_in", "_", "123", "4", "_", "_rooms"]);
        assert_eq!(
            pieces("qwen2", text),
            ["I", "'M", "_in", "_", "1", "2", "3", "4", "_", "_rooms"]
        );
    }

    #[test]
    fn other_kinds_are_not_guessed() {
        assert_eq!(PreTokenizer::from_name("deepseek-llm"), None);
        assert_eq!(PreTokenizer::from_name("default"), None);
    }
}
