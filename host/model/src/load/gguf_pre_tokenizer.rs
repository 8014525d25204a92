//! The ways to cut texts into words that GGUF files name.

use serde_json::Value;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

use crate::tokenizer::bounded::Bounded;

/// The values of `tokenizer.ggml.pre` that are known, each kind once.
pub const PRE_TOKENIZERS: [&str; 5] = ["smollm", "gpt-2", "llama-bpe", "qwen2", "dbrx"];

/// How text is cut before byte pairs are merged. Each is what the tokenizer.json of those models says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreTokenizer {
    Gpt2,
    SmolLm,
    Llama3,
    /// Of OLMo 2: Llama 3's cuts, and no token that isn't merged.
    Dbrx,
    Qwen2,
}

impl PreTokenizer {
    /// By the value of `tokenizer.ggml.pre`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "gpt-2" | "gpt2" | "olmo" => Some(Self::Gpt2),
            // Granite's is called `refact`.
            "smollm" | "refact" | "starcoder" => Some(Self::SmolLm),
            "llama-bpe" | "llama3" | "llama-v3" => Some(Self::Llama3),
            "dbrx" => Some(Self::Dbrx),
            "qwen2" => Some(Self::Qwen2),
            _ => None,
        }
    }

    /// Whether a piece that is a token is taken whole, before any merge.
    pub fn takes_whole_pieces(self) -> bool {
        self == Self::Llama3
    }

    pub fn build(self) -> tokenizers::Result<PreTokenizerWrapper> {
        // Whether words are cut by GPT-2's expression, or were cut by another one already.
        let bytes = |own_expression| ByteLevel::new(false, true, own_expression);
        Ok(match self {
            Self::Gpt2 => bytes(true).into(),
            Self::SmolLm => {
                Sequence::new(vec![Digits::new(true).into(), bytes(true).into()]).into()
            }
            Self::Llama3 | Self::Dbrx => {
                Sequence::new(vec![words("{1,3}")?, bytes(false).into()]).into()
            }
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

/// Stands for every word.
const WORD: &str = "?";

/// What the known ways cut differently: digits, contractions, capitals, blanks, line breaks, marks, other scripts.
const PROBE: [&str; 9] = [
    "I'M sure we'll say it's 1234567 rooms, isn't it?  THEY'RE 'quoted'",
    "camelCase XMLHttpRequest snake_case kebab-case a.b.c user@host",
    "  two blanks\n\n\n  and lines\r\n\t\ttabs   \n end \n",
    "x=3.14159+2e-10; if(a>=b&&!c){return[0];} // done...!!!\n",
    "Größe, naïve café, cafe\u{301}, ﬁne, Straße 42ª ½ ² Ⅷ",
    "東京タワー 한국어 텍스트 12345 ไทย हिन्दी العربية ١٢٣٤",
    "🙂👨\u{200d}👩\u{200d}👧 emoji❤️ \u{a0}no-break\u{2003}em\u{200b}zero",
    "1 12 123 1234 12345 a1b22c333 $100,000.00 100%",
    "'S 'T 'LL 'd 'VE '' \"\" `` don''t",
];

/// The name, if a tokenizer of byte pairs cuts as one that llama.cpp knows. `json` is what the tokenizer was made of.
pub fn name(tokenizer: &Tokenizer, json: &Value) -> Option<&'static str> {
    let own = cuts(tokenizer.get_pre_tokenizer()?.clone())?;
    let whole = json["model"]["ignore_merges"].as_bool().unwrap_or(false);
    PRE_TOKENIZERS.into_iter().find(|name| {
        let known = PreTokenizer::from_name(name)
            .filter(|known| known.takes_whole_pieces() == whole)
            .and_then(|known| known.build().ok());
        known.and_then(cuts).is_some_and(|cuts| cuts == own)
    })
}

/// Where the probes are cut; none if that fails, or takes too long.
fn cuts(pre_tokenizer: PreTokenizerWrapper) -> Option<Vec<(usize, usize)>> {
    // One token per word, whatever the word is.
    let words = WordLevel::builder()
        .vocab([(WORD.to_owned(), 0)].into_iter().collect())
        .unk_token(WORD.to_owned())
        .build()
        .ok()?;
    let mut tokenizer = Tokenizer::new(words);
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
    let tokenizer = Bounded::from(tokenizer);
    let encoded = PROBE.map(|text| tokenizer.encode(text, false).ok());
    let encoded = encoded.into_iter().collect::<Option<Vec<_>>>()?;
    Some(encoded.iter().flat_map(|encoding| encoding.get_offsets().to_vec()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;
    use tokenizers::models::bpe::BPE;
    use tokenizers::pre_tokenizers::whitespace::Whitespace;
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
        for (name, alike) in [("dbrx", "llama-bpe"), ("refact", "smollm"), ("olmo", "gpt-2")] {
            assert_eq!(pieces(name, text), pieces(alike, text));
        }
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

    #[test]
    fn every_known_way_has_its_own_name_and_no_other_has_one() {
        for known in PRE_TOKENIZERS {
            let pre = PreTokenizer::from_name(known).unwrap();
            let mut tokenizer = Tokenizer::new(BPE::default());
            tokenizer.with_pre_tokenizer(Some(pre.build().unwrap()));
            let whole = pre.takes_whole_pieces();
            let with = |whole: bool| json!({ "model": { "ignore_merges": whole } });
            assert_eq!(name(&tokenizer, &with(whole)), Some(known));
            let other = match known {
                "llama-bpe" => Some("dbrx"),
                "dbrx" => Some("llama-bpe"),
                _ => None,
            };
            assert_eq!(name(&tokenizer, &with(!whole)), other, "{known}");
        }
        let mut tokenizer = Tokenizer::new(BPE::default());
        assert_eq!(name(&tokenizer, &json!({})), None);
        tokenizer.with_pre_tokenizer(Some(Whitespace {}));
        assert_eq!(name(&tokenizer, &json!({})), None);
    }
}
