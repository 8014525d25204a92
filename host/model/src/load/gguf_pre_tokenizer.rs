//! The pre-tokenizers that GGUF files name.

use tokenizers::SplitDelimiterBehavior;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

/// How text is cut before byte pairs are merged. Each is what the tokenizer.json of those models says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreTokenizer {
    Gpt2,
    SmolLm,
    Llama3,
    Qwen2,
}

impl PreTokenizer {
    /// By the value of `tokenizer.ggml.pre`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "gpt-2" | "gpt2" => Some(Self::Gpt2),
            "smollm" => Some(Self::SmolLm),
            "llama-bpe" | "llama3" | "llama-v3" => Some(Self::Llama3),
            "qwen2" => Some(Self::Qwen2),
            _ => None,
        }
    }

    pub fn build(self) -> tokenizers::Result<PreTokenizerWrapper> {
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
