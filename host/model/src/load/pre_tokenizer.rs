//! The name that GGUF has for the way in which a tokenizer cuts texts into words.

use serde_json::Value;
use tokenizers::Tokenizer;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use super::gguf_tokenizer::{PRE_TOKENIZERS, PreTokenizer};
use crate::tokenizer::bounded::Bounded;

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

    #[test]
    fn every_known_way_has_its_own_name_and_no_other_has_one() {
        for known in PRE_TOKENIZERS {
            let pre = PreTokenizer::from_name(known).unwrap();
            let mut tokenizer = Tokenizer::new(BPE::default());
            tokenizer.with_pre_tokenizer(Some(pre.build().unwrap()));
            let whole = pre.takes_whole_pieces();
            let with = |whole: bool| json!({ "model": { "ignore_merges": whole } });
            assert_eq!(name(&tokenizer, &with(whole)), Some(known));
            assert_eq!(name(&tokenizer, &with(!whole)), None, "{known}");
        }
        let mut tokenizer = Tokenizer::new(BPE::default());
        assert_eq!(name(&tokenizer, &json!({})), None);
        tokenizer.with_pre_tokenizer(Some(Whitespace {}));
        assert_eq!(name(&tokenizer, &json!({})), None);
    }
}
