//! The SentencePiece tokenizer inside a GGUF file (`tokenizer.ggml.model` is `llama`), rebuilt as byte pair encoding:
//! of two neighbours that form a token, those of the token with the highest score are merged first.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence};
use tokenizers::{Result, Tokenizer};

/// Stands for a space.
const SPACE: &str = "\u{2581}";
/// llama.cpp's token types of tokens that a text is cut into.
const NORMAL: i64 = 1;
const USER_DEFINED: i64 = 4;

/// What the metadata holds of such a tokenizer.
pub struct Pieces<'a> {
    pub tokens: &'a [String],
    /// `tokenizer.ggml.scores`
    pub scores: &'a [f32],
    /// `tokenizer.ggml.token_type`
    pub types: &'a [i64],
    /// The token of what can't be cut into others or bytes.
    pub unknown: Option<&'a str>,
    /// A space is put before a text.
    pub prefixed: bool,
}

/// The numbers of `tokenizer.ggml.scores`; none if the list holds something else.
pub fn scores(value: &Value) -> Option<Vec<f32>> {
    let Value::Array(list) = value else { return None };
    list.iter().map(|score| score.to_f32().ok()).collect()
}

/// The tokenizer, without added tokens.
///
/// # Errors
/// If the library refuses the tokens.
pub fn rebuild(pieces: &Pieces) -> Result<Tokenizer> {
    let vocabulary: HashMap<&str, u32> =
        pieces.tokens.iter().map(String::as_str).zip(0..).collect();
    let merges = merges(pieces, &vocabulary);
    let vocabulary: Vocab =
        vocabulary.iter().map(|(token, id)| ((*token).to_owned(), *id)).collect();
    let mut bpe =
        BPE::builder().vocab_and_merges(vocabulary, merges).byte_fallback(true).fuse_unk(true);
    if let Some(unknown) = pieces.unknown {
        bpe = bpe.unk_token(unknown.to_owned());
    }
    let mut tokenizer = Tokenizer::new(bpe.build()?);
    let spaces: NormalizerWrapper = Replace::new(" ", SPACE)?.into();
    let normalizer = if pieces.prefixed {
        Sequence::new(vec![Prepend::new(SPACE.into()).into(), spaces]).into()
    } else {
        spaces
    };
    tokenizer.with_normalizer(Some(normalizer))?;
    let mut decoders: Vec<DecoderWrapper> =
        vec![Replace::new(SPACE, " ")?.into(), ByteFallback::new().into(), Fuse::new().into()];
    if pieces.prefixed {
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer.with_decoder(Some(Decoders::new(decoders)));
    Ok(tokenizer)
}

/// Every way to make a token of two others, in the order in which they are merged. Tokens that a person defined come
/// first, whatever their score.
fn merges(pieces: &Pieces, vocabulary: &HashMap<&str, u32>) -> Vec<(String, String)> {
    let rank = |id: u32| {
        let kind = pieces.types.get(id as usize).copied();
        let score = pieces.scores.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
        match kind {
            Some(USER_DEFINED) => Some(f32::INFINITY),
            Some(NORMAL) => Some(score),
            _ => None,
        }
    };
    let mut found = Vec::new();
    for (id, token) in (0u32..).zip(pieces.tokens) {
        let Some(rank) = rank(id) else { continue };
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(left), Some(right)) = (vocabulary.get(left), vocabulary.get(right)) {
                found.push((rank, id, *left, *right));
            }
        }
    }
    found.sort_by(|(a, a_id, ..), (b, b_id, ..)| b.total_cmp(a).then(a_id.cmp(b_id)));
    let text = |id: u32| pieces.tokens[id as usize].clone();
    found.into_iter().map(|(_, _, left, right)| (text(left), text(right))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As SentencePiece describes it: the pair with the highest score is merged, the first of equals, until none is left.
    fn plain(pieces: &Pieces, text: &str) -> Vec<String> {
        let mut parts: Vec<String> = text.replace(' ', SPACE).chars().map(String::from).collect();
        loop {
            let score = |pair: &[String]| {
                let joined = pair.concat();
                let id = pieces.tokens.iter().position(|token| *token == joined)?;
                (pieces.types[id] == NORMAL).then_some(pieces.scores[id])
            };
            let scored =
                parts.windows(2).enumerate().filter_map(|(at, pair)| Some((score(pair)?, at)));
            let best = scored.max_by(|(a, at), (b, bt)| a.total_cmp(b).then(bt.cmp(at)));
            let Some((_, at)) = best else { return parts };
            let right = parts.remove(at + 1);
            parts[at].push_str(&right);
        }
    }

    fn tokens() -> (Vec<String>, Vec<f32>, Vec<i64>) {
        let single = [SPACE, "a", "b", "c"];
        let mut tokens = vec!["<unk>".to_owned()];
        let mut types = vec![2];
        for byte in 0..=255u8 {
            tokens.push(format!("<0x{byte:02X}>"));
            types.push(6);
        }
        let joined = ["ab", "bc", "abc", "▁a", "▁ab", "cc", "ccc", "▁▁", "ca", "bca"];
        for token in joined.into_iter().chain(single) {
            tokens.push(token.to_owned());
            types.push(NORMAL);
        }
        let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
        (tokens, scores, types)
    }

    #[test]
    fn texts_are_cut_as_sentencepiece_cuts_them() {
        let (tokens, scores, types) = tokens();
        let pieces = |prefixed| Pieces {
            tokens: &tokens,
            scores: &scores,
            types: &types,
            unknown: Some("<unk>"),
            prefixed,
        };
        let tokenizer = rebuild(&pieces(false)).unwrap();
        let mut seed = 7u64;
        for _ in 0..300 {
            let mut text = String::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push(['a', 'b', 'c', ' '][(seed >> 60) as usize % 4]);
            }
            let encoded = tokenizer.encode(text.as_str(), false).unwrap();
            assert_eq!(encoded.get_tokens(), plain(&pieces(false), &text), "{text:?}");
            assert_eq!(tokenizer.decode(encoded.get_ids(), false).unwrap(), text);
        }
        let bytes = tokenizer.encode("aü", false).unwrap();
        assert_eq!(bytes.get_tokens(), ["a", "<0xC3>", "<0xBC>"]);
        let prefixed = rebuild(&pieces(true)).unwrap();
        let encoded = prefixed.encode("ab", false).unwrap();
        assert_eq!(encoded.get_tokens(), ["▁ab"]);
        assert_eq!(prefixed.decode(encoded.get_ids(), false).unwrap(), "ab");
    }
}
