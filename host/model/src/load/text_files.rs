//! The files that say how text is handled, compared with each other and with the configuration.

use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer;

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

/// Keys that change what is generated even where nothing is drawn, with the value that doesn't.
const CHANGES: [(&str, &str); 16] = [
    ("repetition_penalty", "1"),
    ("encoder_repetition_penalty", "1"),
    ("no_repeat_ngram_size", "0"),
    ("encoder_no_repeat_ngram_size", "0"),
    ("min_length", "0"),
    ("min_new_tokens", "0"),
    ("num_beams", "1"),
    ("guidance_scale", "1"),
    ("penalty_alpha", "0"),
    ("suppress_tokens", "[]"),
    ("begin_suppress_tokens", "[]"),
    ("bad_words_ids", "[]"),
    ("sequence_bias", "{}"),
    ("stop_strings", "[]"),
    ("forced_bos_token_id", "null"),
    ("forced_eos_token_id", "null"),
];
/// Those that change what is drawn.
const SAMPLING: [&str; 7] =
    ["temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"];

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
        tokenizer: Tokenizer,
        config: &Config,
    ) -> Result<(ChatTokenizer, Vec<String>)> {
        self.special_tokens();
        self.template();
        self.length(config);
        self.choice();
        self.normalizer(&tokenizer, config);
        let eos = self.ends(config);
        let (text, notes) = ChatTokenizer::completed(tokenizer, files, self.origin, eos)?;
        notes.iter().for_each(|(file, what)| self.note(file, what));
        self.tokenizer_end(&text, config);
        Ok((text, self.notices))
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

    /// Keys by which transformers chooses tokens otherwise than the host, which takes the likeliest.
    fn choice(&mut self) {
        let stated = |name: &str| self.generation.get(name).filter(|value| !value.is_null());
        let shown = |(name, neutral): &(&str, &str)| {
            let value = stated(name)?;
            let number = value.as_f64();
            let is_neutral = serde_json::from_str(neutral).is_ok_and(|it: Value| it == *value)
                || (number.is_some() && number == neutral.parse().ok());
            (!is_neutral).then(|| format!("{name} {value}"))
        };
        let mut unused: Vec<String> = CHANGES.iter().filter_map(shown).collect();
        if stated("do_sample").is_some_and(|it| it.as_bool() == Some(true)) {
            let settings =
                SAMPLING.iter().filter_map(|name| Some(format!("{name} {}", stated(name)?)));
            unused.push(
                std::iter::once("do_sample".to_owned())
                    .chain(settings)
                    .collect::<Vec<_>>()
                    .join(", "),
            );
        }
        if !unused.is_empty() {
            let what = format!(
                "{} isn't used: an evaluation takes the likeliest token each time, and eval.max_new_tokens ends an answer",
                unused.join(", ")
            );
            self.note(GENERATION, what);
        }
    }

    /// transformers 5 makes the tokenizer of a Llama anew where its class says so, without what the older files write
    /// before a text.
    fn normalizer(&mut self, tokenizer: &Tokenizer, config: &Config) {
        let class = self.tokenizer["tokenizer_class"].as_str().unwrap_or_default();
        let prepends = serde_json::to_string(&tokenizer.get_normalizer());
        if config.family.name() == "llama"
            && ["LlamaTokenizer", "LlamaTokenizerFast"].contains(&class)
            && prepends.is_ok_and(|it| it.contains("Prepend"))
        {
            let what = format!(
                "`tokenizer_class` is {class}, for which transformers 5 leaves out the space that tokenizer.json puts behind each special token; the host does as tokenizer.json says, like transformers 4"
            );
            self.note(TOKENIZER, what);
        }
    }

    /// The ids of config.json that end a text, if they count: generation_config.json comes first.
    fn ends<'c>(&mut self, config: &'c Config) -> &'c [u32] {
        let stated = self.generation.get("eos_token_id").cloned().unwrap_or_default();
        let first = id_list(Some(&stated));
        let items = stated.as_array().map_or(usize::from(!stated.is_null()), Vec::len);
        if items > first.len() {
            self.note(GENERATION, format!("`eos_token_id` is {stated}, of which not all is the id of a token; what isn't counts for nothing"));
        }
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
