//! The tokenizer inside a GGUF file, rebuilt as the tokenizer.json of the same model.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use serde_json::json;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::processors::template::{SpecialToken, TemplateProcessing};
use tokenizers::{AddedToken, Tokenizer};

use super::gguf_pre_tokenizer::{PRE_TOKENIZERS, PreTokenizer};
use super::gguf_sentencepiece;
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
/// `tokenizer.ggml.model` of SentencePiece.
const SENTENCEPIECE: &str = "llama";
/// llama.cpp's token types that matter here.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
/// What the token that begins a text is called where a tokenizer puts it there.
const FIRST: &str = "first";

/// Rebuild the tokenizer of a GGUF file. SentencePiece and a byte-level BPE with a known pre-tokenizer are rebuilt from the metadata;
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

    /// What `tokenizer.ggml.NAME` says.
    fn flag(&self, name: &str) -> Option<bool> {
        match self.metadata.get(&format!("tokenizer.ggml.{name}")) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
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
        let path = self.path.display();
        if self.flag("add_eos_token") == Some(true) {
            notices.push(format!(
                "{path}: `tokenizer.ggml.add_eos_token` isn't read: the chat template ends a turn"
            ));
        }
        let Some(bos) = self.first_token(tokens) else { return Some(template.to_owned()) };
        if template.contains("bos_token") || template.contains(bos.as_str()) {
            return Some(template.to_owned());
        }
        notices.push(format!(
            "{path}: {bos:?} is put before the text of the chat template, which doesn't write it: `tokenizer.ggml.add_bos_token` is {}, as in llama.cpp",
            self.flag("add_bos_token").map_or("true for this tokenizer", |_| "true")
        ));
        Some(format!("{{{{ bos_token }}}}{template}"))
    }

    /// The token that begins a text, if the file asks for it.
    fn first_token<'t>(&self, tokens: &'t [String]) -> Option<&'t String> {
        // Of the kinds that are rebuilt these begin with it unless told otherwise.
        let begins = || {
            let pre = self.string("tokenizer.ggml.pre");
            self.string("tokenizer.ggml.model") == Some(SENTENCEPIECE)
                || matches!(pre, Some("llama-bpe" | "llama3" | "llama-v3"))
        };
        let bos = tokens.get(self.token_id("bos")? as usize)?;
        self.flag("add_bos_token").unwrap_or_else(begins).then_some(bos)
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
        if model == SENTENCEPIECE {
            return self.sentencepiece(tokens);
        }
        if model != "gpt2" {
            return Err(self.fail(format!(
                "its tokenizer is of kind `{model}`; only byte-level BPE (gpt2) and SentencePiece (llama) are rebuilt"
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
        self.begin_texts(&mut tokenizer, tokens)?;
        Ok(tokenizer)
    }

    fn sentencepiece(&self, tokens: &[String]) -> Result<Tokenizer> {
        let list = |key: &str| {
            let key = format!("tokenizer.ggml.{key}");
            self.metadata.get(&key).ok_or_else(|| self.fail(format!("metadata {key} is missing")))
        };
        let scores = gguf_sentencepiece::scores(list("scores")?)
            .ok_or_else(|| self.fail("metadata tokenizer.ggml.scores isn't a list of numbers"))?;
        let types = match list("token_type")? {
            Value::Array(types) => types.iter().map(|kind| whole(kind).unwrap_or(0)).collect(),
            _ => Vec::new(),
        };
        if scores.len() != tokens.len() || types.len() != tokens.len() {
            return Err(self.fail("its tokens, scores and token types aren't equally many"));
        }
        self.refuse_twins(tokens)?;
        let unknown = self.token_id("unknown").and_then(|id| tokens.get(id as usize));
        let pieces = gguf_sentencepiece::Pieces {
            tokens,
            scores: &scores,
            types: &types,
            unknown: unknown.map(String::as_str),
            // As in llama.cpp it is put there unless told otherwise.
            prefixed: self.flag("add_space_prefix").unwrap_or(true),
        };
        let mut tokenizer = gguf_sentencepiece::rebuild(&pieces)
            .map_err(|e| self.fail(format!("its tokenizer can't be rebuilt: {e}")))?;
        self.add_tokens(&mut tokenizer, tokens)?;
        self.begin_texts(&mut tokenizer, tokens)?;
        Ok(tokenizer)
    }

    /// Puts the first token before texts that no chat template writes, if the file asks for it.
    fn begin_texts(&self, tokenizer: &mut Tokenizer, tokens: &[String]) -> Result<()> {
        let (Some(first), Some(id)) = (self.first_token(tokens), self.token_id("bos")) else {
            return Ok(());
        };
        let invalid = |problem: String| {
            self.fail(format!("its first token {first:?} can't be put before a text: {problem}"))
        };
        // A name of this template's own: what a token is called may mean something in one.
        let token = SpecialToken::new(FIRST.into(), vec![id], vec![first.clone()])
            .map_err(|error| invalid(error.to_string()))?;
        let template = TemplateProcessing::builder()
            .try_single(format!("{FIRST} $A"))
            .and_then(|builder| builder.try_pair(format!("{FIRST} $A {FIRST} $B:1")))
            .map_err(invalid)?
            .special_tokens(vec![token])
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        tokenizer.with_post_processor(Some(template));
        Ok(())
    }

    fn refuse_twins(&self, tokens: &[String]) -> Result<()> {
        let different: HashSet<&String> = tokens.iter().collect();
        if different.len() == tokens.len() {
            Ok(())
        } else {
            Err(self.fail("its vocabulary holds a token twice"))
        }
    }

    fn byte_pair_encoding(&self, tokens: &[String], pre: PreTokenizer) -> Result<BPE> {
        self.refuse_twins(tokens)?;
        let vocabulary: HashMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
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
