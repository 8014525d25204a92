//! Log-probabilities in the forms of both kinds of completions.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use host_model::{ChatTokenizer, TextStream, TokenText};
use serde_json::{Map, Value, json};

use crate::engine::Scored;

/// The texts of tokens, made once for each.
#[derive(Default)]
pub struct TokenTexts {
    known: Mutex<HashMap<u32, TokenText>>,
}

impl TokenTexts {
    fn of(&self, tokenizer: &ChatTokenizer, id: u32) -> TokenText {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let text = known.entry(id).or_insert_with(|| {
            // A model may have more rows than there are tokens.
            let unnamed = |_| TokenText { text: format!("token_id:{id}"), bytes: None };
            tokenizer.token_text(id).unwrap_or_else(unnamed)
        });
        text.clone()
    }

    /// As a key: what has no text of its own is written by its bytes.
    fn key(&self, tokenizer: &ChatTokenizer, id: u32) -> String {
        let token = self.of(tokenizer, id);
        match token.bytes {
            Some(bytes) if token.text.contains(char::REPLACEMENT_CHARACTER) => {
                let bytes: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                format!("bytes:{bytes}")
            }
            _ => token.text,
        }
    }

    /// `logprobs` of a chat completion.
    pub fn chat(&self, tokenizer: &ChatTokenizer, scores: &[Scored]) -> Value {
        let entry = |id: u32, log_prob: f32| {
            let token = self.of(tokenizer, id);
            json!({"token": token.text, "logprob": finite(log_prob), "bytes": token.bytes})
        };
        let content = scores.iter().map(|score| {
            let mut one = entry(score.id, score.log_prob);
            let top = score.likeliest.iter().map(|(id, log_prob)| entry(*id, *log_prob));
            one["top_logprobs"] = top.collect();
            one
        });
        json!({"content": content.collect::<Value>(), "refusal": null})
    }

    /// `logprobs` of a completion. `shown` is the number of likeliest tokens that were asked for, `offset` the
    /// characters of its text before the first token.
    pub fn completion(
        &self,
        tokenizer: &ChatTokenizer,
        tokens: &[(u32, Option<Scored>)],
        shown: usize,
        offset: usize,
    ) -> Value {
        let mut stream = TextStream::default();
        let mut at = offset;
        let (mut texts, mut log_probs) = (Vec::new(), Vec::new());
        let (mut tops, mut offsets) = (Vec::new(), Vec::new());
        for (id, score) in tokens {
            texts.push(Value::from(self.key(tokenizer, *id)));
            log_probs.push(score.as_ref().map_or(Value::Null, |score| finite(score.log_prob)));
            tops.push(score.as_ref().map_or(Value::Null, |score| self.top(tokenizer, score)));
            offsets.push(at);
            at += tokenizer.add_token(&mut stream, *id).map_or(0, |text| text.chars().count());
        }
        json!({
            "tokens": texts,
            "token_logprobs": log_probs,
            "top_logprobs": if shown == 0 { Value::Null } else { tops.into() },
            "text_offset": offsets,
        })
    }

    /// The likeliest tokens and the chosen one by their texts; of two with one text the likelier counts.
    fn top(&self, tokenizer: &ChatTokenizer, score: &Scored) -> Value {
        let mut top = Map::new();
        for (id, log_prob) in score.likeliest.iter().chain([&(score.id, score.log_prob)]) {
            let key = self.key(tokenizer, *id);
            if !top.contains_key(&key) {
                top.insert(key, finite(*log_prob));
            }
        }
        top.into()
    }
}

/// JSON has no infinity: a token that can't come has what the API writes for it.
fn finite(log_prob: f32) -> Value {
    if log_prob.is_finite() { f64::from(log_prob).into() } else { (-9999.0).into() }
}
