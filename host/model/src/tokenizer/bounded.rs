//! A tokenizer that is given up where it takes too long or makes too much of a text.
//!
//! tokenizer.json holds regular expressions, which a backtracking engine may follow for ever, and replacements, each of
//! which may make a text longer. The engine can't be stopped, so such a text is encoded on a thread that is left
//! behind when its time is over.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use host_files::quiet;
use serde::Serialize;
use serde_json::Value;
use tokenizers::{Encoding, Tokenizer};

/// A million tokens take a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that a text may become before it is cut into tokens.
const LARGEST: usize = 512 << 20;

/// A tokenizer, shared.
#[derive(Debug, Clone)]
pub struct Bounded {
    tokenizer: Arc<Tokenizer>,
    /// Whether it holds regular expressions of its own.
    searches: bool,
    /// How many times as long a text may become.
    growth: usize,
    /// Set when a text took too long: the next one isn't tried.
    is_stuck: Arc<AtomicBool>,
}

impl Deref for Bounded {
    type Target = Tokenizer;

    fn deref(&self) -> &Tokenizer {
        &self.tokenizer
    }
}

impl From<Tokenizer> for Bounded {
    fn from(tokenizer: Tokenizer) -> Self {
        let parts = [
            value(&tokenizer.get_normalizer()),
            value(&tokenizer.get_pre_tokenizer()),
            value(&tokenizer.get_post_processor()),
            value(&tokenizer.get_decoder()),
        ];
        Self {
            searches: parts.iter().any(searches),
            growth: parts.iter().map(growth).fold(1, usize::saturating_mul),
            tokenizer: Arc::new(tokenizer),
            is_stuck: Arc::default(),
        }
    }
}

fn value(part: &impl Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

/// Whether a part of a tokenizer has a regular expression that isn't the library's own.
fn searches(part: &Value) -> bool {
    match part {
        Value::Array(list) => list.iter().any(searches),
        Value::Object(map) => map.contains_key("Regex") || map.values().any(searches),
        _ => false,
    }
}

/// How many times as long a part may make a text: replacements one behind the other, and pieces of a template.
fn growth(part: &Value) -> usize {
    match part {
        Value::Array(list) => list.iter().map(growth).fold(1, usize::saturating_mul),
        Value::Object(map) => {
            let length = |value: &Value| value.as_str().map_or(0, str::len);
            let own = match map.get("type").and_then(Value::as_str) {
                Some("Replace") => {
                    let found =
                        map.get("pattern").and_then(|it| it.get("String")).map_or(0, length);
                    let instead = map.get("content").map_or(0, length);
                    // An expression may match between any two characters.
                    if found == 0 { instead + 1 } else { instead.div_ceil(found).max(1) }
                }
                Some("TemplateProcessing") => {
                    map.get("single").and_then(Value::as_array).map_or(1, Vec::len).max(1)
                }
                Some("NFKC" | "NFKD" | "BertNormalizer" | "Nmt" | "Precompiled") => 4,
                _ => 1,
            };
            let within = ["normalizers", "pretokenizers", "processors", "decoders"];
            let within = within.iter().filter_map(|name| map.get(*name));
            within.map(growth).fold(own, usize::saturating_mul)
        }
        _ => 1,
    }
}

/// What a thread is asked to do.
enum Job {
    Encode { text: String, special: bool },
    Decode { ids: Vec<u32>, skip_special: bool },
}

enum Done {
    Encoded(Box<Encoding>),
    Decoded(String),
}

type Outcome = Result<Done, String>;

impl Bounded {
    /// Tokens of a text.
    ///
    /// # Errors
    /// What is wrong, as said of the tokenizer and the text.
    pub fn encode(&self, text: &str, special: bool) -> Result<Encoding, String> {
        if text.len().saturating_mul(self.growth) > LARGEST {
            return Err(format!(
                "tokenizer.json may make a text {} times as long, and this one has {} bytes",
                self.growth,
                text.len()
            ));
        }
        if !self.searches {
            return self.encode_here(text, special);
        }
        let job = Job::Encode { text: text.to_owned(), special };
        match self.apart(job, text.len())? {
            Done::Encoded(encoding) => Ok(*encoding),
            Done::Decoded(_) => Err("another thing was asked".into()),
        }
    }

    /// Text of tokens.
    ///
    /// # Errors
    /// As [`Bounded::encode`].
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, String> {
        if ids.len().saturating_mul(self.growth) > LARGEST {
            return Err(format!("tokenizer.json may make {} tokens too long", ids.len()));
        }
        if !self.searches {
            return self.decode_here(ids, skip_special);
        }
        match self.apart(Job::Decode { ids: ids.to_vec(), skip_special }, ids.len())? {
            Done::Decoded(text) => Ok(text),
            Done::Encoded(_) => Err("another thing was asked".into()),
        }
    }

    /// Does a job on this thread's companion, which is left behind if it doesn't end.
    fn apart(&self, job: Job, length: usize) -> Result<Done, String> {
        if self.is_stuck.load(Ordering::Relaxed) {
            return Err("tokenizer.json took too long on a text before".into());
        }
        COMPANION.with_borrow_mut(|companion| {
            let used = match companion.take() {
                Some(used) => used,
                None => Companion::start()?,
            };
            let gone = |_| "its thread is gone".to_owned();
            used.questions.send((self.clone(), job)).map_err(gone)?;
            match used.answers.recv_timeout(PATIENCE) {
                Ok(outcome) => {
                    *companion = Some(used);
                    outcome
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.is_stuck.store(true, Ordering::Relaxed);
                    let seconds = PATIENCE.as_secs();
                    Err(format!(
                        "tokenizer.json takes more than {seconds} s for a text of {length} bytes"
                    ))
                }
                Err(RecvTimeoutError::Disconnected) => Err("its thread is gone".into()),
            }
        })
    }

    fn done(&self, job: Job) -> Outcome {
        match job {
            Job::Encode { text, special } => {
                self.encode_here(&text, special).map(|it| Done::Encoded(Box::new(it)))
            }
            Job::Decode { ids, skip_special } => {
                self.decode_here(&ids, skip_special).map(Done::Decoded)
            }
        }
    }

    fn encode_here(&self, text: &str, special: bool) -> Result<Encoding, String> {
        let encoded = quiet::catch(|| self.tokenizer.encode(text, special));
        encoded.map_err(broken)?.map_err(|error| error.to_string())
    }

    fn decode_here(&self, ids: &[u32], skip_special: bool) -> Result<String, String> {
        let decoded = quiet::catch(|| self.tokenizer.decode(ids, skip_special));
        decoded.map_err(broken)?.map_err(|error| error.to_string())
    }
}

/// The engine panics where its own limits end a search.
fn broken(panic: String) -> String {
    if panic.contains("limit") {
        "its regular expressions take too many steps; a very long run of one kind of characters is \
         the usual cause"
            .into()
    } else {
        panic
    }
}

/// The thread that works for one other thread.
struct Companion {
    questions: Sender<(Bounded, Job)>,
    answers: Receiver<Outcome>,
}

thread_local! {
    static COMPANION: RefCell<Option<Companion>> = const { RefCell::new(None) };
}

impl Companion {
    fn start() -> Result<Self, String> {
        let (questions, asked) = channel::<(Bounded, Job)>();
        let (answered, answers) = channel();
        std::thread::Builder::new()
            .name("tokenizer".into())
            .spawn(move || {
                while let Ok((tokenizer, job)) = asked.recv() {
                    if answered.send(tokenizer.done(job)).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| format!("no thread can be started ({error})"))?;
        Ok(Self { questions, answers })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    /// A tokenizer of bytes that cuts texts by a regular expression.
    fn cutting(regex: &str, normalizer: &Value) -> Bounded {
        let vocabulary: serde_json::Map<_, _> = ["a", "b", " ", "\u{120}", "\u{10a}"]
            .iter()
            .enumerate()
            .map(|(id, text)| ((*text).into(), id.into()))
            .collect();
        let file = json!({
            "version": "1.0", "added_tokens": [], "normalizer": normalizer,
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false },
                { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
            ] },
            "post_processor": null, "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
            "model": { "type": "BPE", "vocab": vocabulary, "merges": [] },
        });
        Tokenizer::from_bytes(file.to_string()).unwrap().into()
    }

    /// The one of Qwen2; that of Llama 3 differs in the digits.
    const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    #[test]
    fn runs_of_spaces_are_encoded_or_refused() {
        let tokenizer = cutting(QWEN2, &Value::Null);
        assert!(tokenizer.searches && tokenizer.growth == 1);
        assert_eq!(tokenizer.encode("a b  a", false).unwrap().get_ids(), [0, 3, 1, 3, 3, 0]);
        assert_eq!(tokenizer.encode(&" ".repeat(100_000), false).unwrap().len(), 100_000);
        let problem = tokenizer.encode(&" ".repeat(11_000_000), false).unwrap_err();
        assert!(problem.contains("too many steps"), "{problem}");
        assert_eq!(tokenizer.decode(&[0, 3, 1], false).unwrap(), "a b");
    }

    #[test]
    fn an_expression_that_goes_on_for_ever_is_given_up() {
        let tokenizer = cutting("(a+)+$", &Value::Null);
        let problem = tokenizer.encode(&("a".repeat(40) + "b"), false).unwrap_err();
        assert!(problem.contains("too many steps"), "{problem}");
        // Another text is tried: this one was the text's.
        assert!(tokenizer.encode("a", false).is_ok());
    }

    #[test]
    fn replacements_that_make_a_text_too_long_are_refused_before() {
        let replace = |pattern: Value, content: &str| json!({ "type": "Replace", "pattern": pattern, "content": content });
        let double = replace(json!({ "String": "a" }), "aa");
        let doubled = json!({ "type": "Sequence", "normalizers": vec![double; 40] });
        let tokenizer = cutting("a", &doubled);
        assert_eq!(tokenizer.growth, 1 << 40);
        assert!(tokenizer.encode("a", false).unwrap_err().contains("times as long"));
        let large = replace(json!({ "Regex": "" }), &"a".repeat(1 << 20));
        assert!(cutting("a", &large).encode(&"b".repeat(1000), false).is_err());
        let usual = replace(json!({ "String": " " }), "\u{2581}");
        assert_eq!(cutting("a", &usual).growth, 3);
    }
}
