//! A tokenizer.json as GGUF metadata: tokens with their types, merges or scores, special tokens, chat template.

use std::collections::{BTreeMap, HashMap};

use candle_core::quantized::gguf_file::Value;
use serde_json::Value as Json;

use super::file::Metadata;
use crate::error::{Error, Result};
use crate::load::pre_tokenizer_name;
use crate::message::Message;
use crate::tokenizer::ChatTokenizer;

/// llama.cpp's token types.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;
/// Names of the keys for tokens that end a text, a turn, a message. llama.cpp reads no more of them.
const ENDINGS: [&str; 3] = ["eos", "eot", "eom"];
const CONVERT: &str =
    "export with --merged, and convert the folder with llama.cpp's convert_hf_to_gguf.py";

/// Metadata, and what of the tokenizer isn't in it.
pub struct Vocabulary {
    pub metadata: Metadata,
    pub notices: Vec<String>,
}

/// The metadata of a tokenizer for a model that embeds `rows` tokens; `eos` and `bos` are those of config.json.
///
/// # Errors
/// [`Error::Tokenizer`] for one that llama.cpp has no name for.
pub fn of(tokenizer: &ChatTokenizer, rows: usize, bos: Option<u32>) -> Result<Vocabulary> {
    let json = tokenizer.json()?;
    let mut vocabulary = Vocabulary { metadata: Metadata::new(), notices: vec![] };
    let kind = kind(&json)?;
    let tokens = tokens(&json, rows, &mut vocabulary.notices)?;
    let types = types(&json, &tokens, kind);
    match kind {
        Kind::ByteLevel => {
            let name = pre_tokenizer_name(tokenizer.library(), &json).ok_or_else(|| {
                refused("cuts words in a way that llama.cpp has a name for that isn't known here")
            })?;
            vocabulary.set("model", text("gpt2"));
            vocabulary.set("pre", text(name));
            vocabulary.set(
                "merges",
                strings(merges(&json)?.into_iter().map(|(a, b)| format!("{a} {b}"))),
            );
        }
        Kind::SentencePiece { add_space } => {
            vocabulary.set("model", text("llama"));
            vocabulary.set("pre", text("default"));
            let scores = scores(&tokens, &types, &merges(&json)?);
            vocabulary.set("scores", Value::Array(scores.into_iter().map(Value::F32).collect()));
            vocabulary.set("add_space_prefix", Value::Bool(add_space));
        }
    }
    let types = types.into_iter().map(Value::I32).collect();
    vocabulary.set("token_type", Value::Array(types));
    vocabulary.set("tokens", strings(tokens));
    vocabulary.special(tokenizer, rows, bos);
    vocabulary.template(tokenizer);
    Ok(vocabulary)
}

fn refused(problem: &str) -> Error {
    Error::tokenizer(problem, CONVERT)
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn strings(list: impl IntoIterator<Item = String>) -> Value {
    Value::Array(list.into_iter().map(Value::String).collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Every byte is a letter of an alphabet.
    ByteLevel,
    /// Spaces are `▁`, unknown letters `<0xE2>`.
    SentencePiece { add_space: bool },
}

fn kind(json: &Json) -> Result<Kind> {
    let model = &json["model"];
    if model["type"] != "BPE" {
        let kind = model["type"].as_str().unwrap_or("without a type");
        return Err(refused(&format!(
            "is of kind {kind}; GGUF is written for byte pair encodings"
        )));
    }
    if names(&json["pre_tokenizer"]).contains(&"ByteLevel") {
        let normalizers = names(&json["normalizer"]);
        return match normalizers.iter().find(|name| !["Sequence", "NFC"].contains(name)) {
            None => Ok(Kind::ByteLevel),
            Some(name) => Err(refused(&format!(
                "changes texts by the normalizer {name}, which llama.cpp doesn't"
            ))),
        };
    }
    if model["byte_fallback"] == true {
        let normalizers = names(&json["normalizer"]);
        let metaspace = &json["pre_tokenizer"];
        let scheme =
            (metaspace["type"] == "Metaspace").then(|| metaspace["prepend_scheme"].as_str());
        let add_space = normalizers.contains(&"Prepend")
            || scheme.is_some_and(|scheme| scheme != Some("never"));
        let known = ["Sequence", "Prepend", "Replace"];
        if let Some(name) = normalizers.iter().find(|name| !known.contains(name)) {
            return Err(refused(&format!(
                "changes texts by the normalizer {name}, which llama.cpp doesn't"
            )));
        }
        return Ok(Kind::SentencePiece { add_space });
    }
    Err(refused("is neither byte-level nor of SentencePiece"))
}

/// Types of a part of a tokenizer and of the parts in it.
fn names(part: &Json) -> Vec<&str> {
    let own = part["type"].as_str();
    let inner = ["normalizers", "pretokenizers"].iter().filter_map(|list| part[*list].as_array());
    own.into_iter().chain(inner.flatten().flat_map(names)).collect()
}

fn added(json: &Json) -> impl Iterator<Item = (usize, &str, &Json)> {
    json["added_tokens"].as_array().into_iter().flatten().filter_map(|token| {
        let id = usize::try_from(token["id"].as_u64()?).ok()?;
        Some((id, token["content"].as_str()?, token))
    })
}

/// One text per row of the embedding.
fn tokens(json: &Json, rows: usize, notices: &mut Vec<String>) -> Result<Vec<String>> {
    let mut by_id: BTreeMap<usize, &str> = BTreeMap::new();
    for (token, id) in json["model"]["vocab"].as_object().into_iter().flatten() {
        let id = id.as_u64().and_then(|id| usize::try_from(id).ok());
        by_id.insert(id.ok_or_else(|| refused("has a token without an id"))?, token);
    }
    by_id.extend(added(json).map(|(id, token, _)| (id, token)));
    let beyond = by_id.split_off(&rows);
    if let Some(first) = beyond.values().next() {
        notices.push(format!(
            "{} tokens beyond the {rows} that the model embeds are left out of the GGUF file ({first:?} is the first)",
            beyond.len()
        ));
    }
    let token = |id: usize| {
        by_id.get(&id).map_or_else(|| format!("[PAD{id}]"), |token| (*token).to_owned())
    };
    Ok((0..rows).map(token).collect())
}

fn types(json: &Json, tokens: &[String], kind: Kind) -> Vec<i32> {
    let known = json["model"]["vocab"].as_object();
    let unknown = json["model"]["unk_token"].as_str();
    let of = |token: &String| match kind {
        _ if known.is_none_or(|known| !known.contains_key(token)) => UNUSED,
        Kind::SentencePiece { .. } if Some(token.as_str()) == unknown => UNKNOWN,
        Kind::SentencePiece { .. } if byte(token).is_some() => BYTE,
        _ => NORMAL,
    };
    let mut types: Vec<i32> = tokens.iter().map(of).collect();
    for (id, content, token) in added(json) {
        if let Some(kind) =
            types.get_mut(id).filter(|kind| **kind != UNKNOWN || Some(content) != unknown)
        {
            *kind = if token["special"] == true { CONTROL } else { USER_DEFINED };
        }
    }
    types
}

/// `<0xE2>`
fn byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Pairs, the first to be merged first.
fn merges(json: &Json) -> Result<Vec<(&str, &str)>> {
    let list = json["model"]["merges"].as_array().into_iter().flatten();
    let merges: Option<Vec<(&str, &str)>> = list.map(pair).collect();
    let merges = merges.ok_or_else(|| refused("has merges that are no pairs"))?;
    if merges.iter().any(|(a, b)| a.contains(' ') || b.contains(' ')) {
        return Err(refused("merges pieces with a space in them, which GGUF can't say"));
    }
    Ok(merges)
}

/// `"a b"` or `["a", "b"]`
fn pair(merge: &Json) -> Option<(&str, &str)> {
    match merge {
        Json::String(text) => text.split_once(' '),
        Json::Array(pair) => match pair.as_slice() {
            [a, b] => Some((a.as_str()?, b.as_str()?)),
            _ => None,
        },
        _ => None,
    }
}

/// SentencePiece merges what has the higher score first, so the rank of a merge gives the score of what it makes; that
/// is where such a tokenizer.json has its order from.
fn scores(tokens: &[String], types: &[i32], merges: &[(&str, &str)]) -> Vec<f32> {
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for (rank, (a, b)) in merges.iter().enumerate() {
        ranks.entry(format!("{a}{b}")).or_insert(rank);
    }
    let lowest = merges.len() as f32;
    let score = |(token, kind): (&String, &i32)| match ranks.get(token) {
        _ if *kind != NORMAL => 0.0,
        Some(rank) => -(*rank as f32),
        // A letter, which nothing is merged to.
        None => -lowest,
    };
    tokens.iter().zip(types).map(score).collect()
}

/// Whether the chat template begins with the token that begins texts; none without a template.
pub fn template_begins(tokenizer: &ChatTokenizer) -> Option<bool> {
    let bos = &tokenizer.special_tokens().bos;
    let text = tokenizer.render(&[Message::user("a")][..], true).ok()?;
    Some(!bos.is_empty() && text.starts_with(bos))
}

impl Vocabulary {
    fn set(&mut self, key: &str, value: Value) {
        self.metadata.insert(format!("tokenizer.ggml.{key}"), value);
    }

    fn special(&mut self, tokenizer: &ChatTokenizer, rows: usize, bos: Option<u32>) {
        let special = tokenizer.special_tokens();
        let id = |token: &str| tokenizer.id(token).filter(|id| (*id as usize) < rows);
        let bos = id(&special.bos).or(bos);
        for (name, id) in
            [("bos", bos), ("padding", id(&special.pad)), ("unknown", id(&special.unk))]
        {
            if let Some(id) = id {
                self.set(&format!("{name}_token_id"), Value::U32(id));
            }
        }
        let mut ends: Vec<u32> = id(&special.eos).into_iter().collect();
        let stops = tokenizer.stop_tokens().iter().filter(|id| (**id as usize) < rows);
        // The last is the end of the template's turn, where the files don't name it.
        ends.extend(
            stops.rev().filter(|id| Some(**id) != ends.first().copied()).collect::<Vec<_>>(),
        );
        for (name, id) in ENDINGS.iter().zip(&ends) {
            self.set(&format!("{name}_token_id"), Value::U32(*id));
        }
        for id in ends.iter().skip(ENDINGS.len()) {
            let token = tokenizer.token(*id).unwrap_or_default();
            self.notices.push(format!(
                "{token:?} ends an answer as well, for which GGUF has no key; give it as a stop word"
            ));
        }
        let (begins, written) = (tokenizer.begins_texts(), template_begins(tokenizer));
        if begins && written == Some(false) {
            self.notices.push(format!(
                "`tokenizer.ggml.add_bos_token` is false: the tokenizer puts {:?} before a text, but the chat template \
                 that was trained with doesn't write it",
                special.bos
            ));
        }
        self.set("add_bos_token", Value::Bool(begins && written.unwrap_or(true)));
        self.set("add_eos_token", Value::Bool(false));
    }

    fn template(&mut self, tokenizer: &ChatTokenizer) {
        if let Some(template) = tokenizer.chat_template() {
            self.metadata.insert("tokenizer.chat_template".to_owned(), text(template));
        }
    }
}
