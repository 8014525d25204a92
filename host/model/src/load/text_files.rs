//! The files that say how text is handled, compared with each other and with the configuration.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::{AddedToken, Tokenizer};

use crate::config::Config;
use host_files::text::line;

use crate::error::Result;
use crate::tokenizer::{ChatTokenizer, TokenizerFiles, id_list, parse, read_json};

const TOKENIZER: &str = "tokenizer_config.json";
const MAP: &str = "special_tokens_map.json";
const GENERATION: &str = "generation_config.json";
const TEMPLATE: &str = "chat_template.jinja";
/// Above it `model_max_length` means that nobody set it.
const UNSET: f64 = 1e12;

/// The tokenizer of a model folder, and a line for everything that two of its files say differently.
///
/// # Errors
/// As [`ChatTokenizer::from_files`].
pub fn read(
    files: TokenizerFiles,
    origin: &Path,
    config: &Config,
) -> Result<(ChatTokenizer, Vec<String>)> {
    let Some(bytes) = files.get("tokenizer.json") else {
        // Which says what to do.
        return Ok((ChatTokenizer::from_files(files, origin, &config.eos)?, Vec::new()));
    };
    let tokenizer = parse(&origin.join("tokenizer.json"), bytes)?;
    let texts = Texts {
        origin,
        tokenizer: read_json(&files, origin, TOKENIZER)?,
        map: read_json(&files, origin, MAP)?,
        generation: read_json(&files, origin, GENERATION)?,
        template: files.get(TEMPLATE).map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        notices: Vec::new(),
    };
    texts.agreed(files, tokenizer, config)
}

struct Texts<'a> {
    origin: &'a Path,
    tokenizer: Value,
    map: Value,
    generation: Value,
    template: Option<String>,
    notices: Vec<String>,
}

impl Texts<'_> {
    fn note(&mut self, file: &str, what: impl AsRef<str>) {
        let path = self.origin.join(file);
        self.notices.push(format!("{}: {}", path.display(), line(what.as_ref())));
    }

    fn agreed(
        mut self,
        files: TokenizerFiles,
        mut tokenizer: Tokenizer,
        config: &Config,
    ) -> Result<(ChatTokenizer, Vec<String>)> {
        self.add_tokens(&mut tokenizer);
        self.special_tokens();
        self.template();
        self.length(config);
        let eos = self.ends(config);
        let text = ChatTokenizer::new(tokenizer, files, self.origin, eos)?;
        self.tokenizer_end(&text, config);
        Ok((text, self.notices))
    }

    /// Tokens that tokenizer_config.json adds to those of tokenizer.json, in the order of their ids.
    fn add_tokens(&mut self, tokenizer: &mut Tokenizer) {
        let stated = self.tokenizer.get("added_tokens_decoder").and_then(Value::as_object);
        let number = |(id, token): (&String, &Value)| Some((id.parse().ok()?, token.clone()));
        let stated: BTreeMap<u32, Value> =
            stated.into_iter().flatten().filter_map(number).collect();
        let mut added = Vec::new();
        for (id, token) in stated {
            let Some(text) = token["content"].as_str() else { continue };
            match tokenizer.token_to_id(text) {
                Some(there) if there == id => {}
                Some(there) => {
                    let what = format!(
                        "says that {text:?} is token {id}; tokenizer.json has it as {there}, which counts, as in transformers"
                    );
                    self.note(TOKENIZER, what);
                }
                None => {
                    let flag = |name: &str| token[name].as_bool();
                    let special = flag("special").unwrap_or(false);
                    let new = AddedToken::from(text, special)
                        .lstrip(flag("lstrip").unwrap_or(false))
                        .rstrip(flag("rstrip").unwrap_or(false))
                        .single_word(flag("single_word").unwrap_or(false))
                        .normalized(flag("normalized").unwrap_or(!special));
                    // An empty text is refused by the library, and means nothing.
                    if tokenizer.add_tokens([new]).is_ok() {
                        let got = tokenizer.token_to_id(text);
                        added.push((text.to_owned(), id, got));
                    }
                }
            }
        }
        if let Some((text, id, got)) = added.first() {
            let got = got.map_or_else(|| "none".to_owned(), |got| got.to_string());
            let what = format!(
                "adds {text:?} (stated id {id}, id {got}) and {} more tokens that tokenizer.json doesn't have: they are used, as in transformers",
                added.len() - 1
            );
            self.note(TOKENIZER, what);
        }
    }

    /// transformers reads the map only beside a tokenizer_config.json without `added_tokens_decoder`, and then first.
    fn special_tokens(&mut self) {
        for name in ["bos_token", "eos_token", "pad_token", "unk_token"] {
            let text = |file: &Value| crate::tokenizer::token_text(file, name);
            let (Some(config), Some(map)) = (text(&self.tokenizer), text(&self.map)) else {
                continue;
            };
            if config == map {
                continue;
            }
            let what = if crate::tokenizer::map_counts(&self.tokenizer) {
                format!(
                    "`{name}` is {config:?}; {MAP} says {map:?}, which counts, as in transformers"
                )
            } else {
                format!("`{name}` is {config:?} and counts, as in transformers; {MAP} says {map:?}")
            };
            self.note(TOKENIZER, what);
        }
    }

    fn template(&mut self) {
        let (Some(file), Some(other)) = (&self.template, self.tokenizer.get("chat_template"))
        else {
            return;
        };
        if !other.is_null() && other.as_str() != Some(file) {
            self.note(TEMPLATE, format!("counts, as in transformers; `chat_template` of {TOKENIZER} is another and isn't read"));
        }
    }

    fn length(&mut self, config: &Config) {
        let stated = self.tokenizer.get("model_max_length").and_then(Value::as_f64);
        if let Some(length) =
            stated.filter(|length| *length < UNSET && *length < config.max_position as f64)
        {
            let what = format!(
                "`model_max_length` is {length} and isn't read: the model takes {} tokens; data.max_tokens sets a limit",
                config.max_position
            );
            self.note(TOKENIZER, what);
        }
    }

    /// The ids of config.json that end a text, if they count: generation_config.json comes first.
    fn ends<'c>(&mut self, config: &'c Config) -> &'c [u32] {
        let first = id_list(self.generation.get("eos_token_id"));
        if first.is_empty() {
            return &config.eos;
        }
        let others: Vec<u32> =
            config.eos.iter().copied().filter(|id| !first.contains(id)).collect();
        if !others.is_empty() {
            let what = format!(
                "`eos_token_id` is {first:?} and counts, as in transformers; that of config.json, {others:?}, doesn't end an answer"
            );
            self.note(GENERATION, what);
        }
        &[]
    }

    /// The tokenizer's own end, if neither configuration has it.
    fn tokenizer_end(&mut self, text: &ChatTokenizer, config: &Config) {
        let mut named = id_list(self.generation.get("eos_token_id"));
        if named.is_empty() {
            named.clone_from(&config.eos);
        }
        let end = &text.special_tokens().eos;
        if end.is_empty() {
            return;
        }
        match text.id(end) {
            None => self.note(
                TOKENIZER,
                format!(
                    "`eos_token` {end:?} isn't a token of tokenizer.json, so it ends no answer"
                ),
            ),
            Some(id) if !named.is_empty() && !named.contains(&id) => {
                let what = format!(
                    "`eos_token` {end:?} ({id}) ends an answer as well as {named:?}, which the model's configuration names"
                );
                self.note(TOKENIZER, what);
            }
            Some(_) => {}
        }
    }
}
