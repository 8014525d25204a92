//! Tokens that the files beside tokenizer.json add to it or describe anew, as transformers 5 does.
//!
//! `added_tokens_decoder` of tokenizer_config.json comes first. Without it, and only then, special_tokens_map.json and
//! added_tokens.json are read. What is named as a special token is one, whether tokenizer.json has it or not.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::{AddedToken, Tokenizer};

use super::files::{TokenizerFiles, map_counts, read_json, text_of};
use crate::error::{Error, Result};

const CONFIG: &str = "tokenizer_config.json";
const MAP: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";
/// In the order in which transformers adds them.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Most tokens that files may add.
const MOST: usize = 100_000;

/// What was done: a file's name and a line about it each.
pub type Notes = Vec<(&'static str, String)>;

/// Adds what `files` add to the tokens of tokenizer.json; also all of it as a text, empty if that is nothing.
///
/// # Errors
/// [`Error::File`] for a list of tokens that isn't one.
pub fn add(
    tokenizer: &mut Tokenizer,
    files: &TokenizerFiles,
    origin: &Path,
) -> Result<(Notes, String)> {
    let mut stated = Stated {
        config: read_json(files, origin, CONFIG)?,
        map: read_json(files, origin, MAP)?,
        listed: read_json(files, origin, ADDED)?,
        origin,
        tokens: Vec::new(),
        notes: Notes::new(),
    };
    stated.by_id(tokenizer)?;
    stated.by_name(tokenizer)?;
    let split = stated.config["split_special_tokens"].as_bool().unwrap_or(false);
    let Stated { tokens, mut notes, .. } = stated;
    let mut all = String::new();
    let mut new = Vec::new();
    let mut changed = Vec::new();
    for (file, token, id) in tokens {
        let before = tokenizer.token_to_id(&token.content);
        let (text, described) = (token.content.clone(), format!("{token:?}"));
        // An empty text is refused by the library, and means nothing.
        if tokenizer.add_tokens([token]).is_ok() {
            let got = tokenizer.token_to_id(&text);
            all += &format!("{got:?}={described};");
            if before.is_some() {
                changed.push((file, text));
            } else {
                new.push((file, text, id, got));
            }
        }
    }
    let more = |count: usize| {
        if count > 1 { format!(" and {} more tokens", count - 1) } else { String::new() }
    };
    if let Some((file, text, id, got)) = new.first() {
        let got = got.map_or_else(|| "none".to_owned(), |got| got.to_string());
        let id = id.map_or_else(String::new, |id| format!("stated id {id}, "));
        let what = format!(
            "adds {text:?} ({id}id {got}){} that tokenizer.json doesn't have: they are used, as in transformers",
            more(new.len())
        );
        notes.push((*file, what));
    }
    if let Some((file, text)) = changed.first() {
        let what = format!(
            "says of {text:?}{} in another way than tokenizer.json how they are found in a text (`lstrip`, `rstrip`, `single_word`, `normalized`, `special`), and counts, as in transformers",
            more(changed.len())
        );
        notes.push((*file, what));
    }
    if split {
        tokenizer.set_encode_special_tokens(true);
        all += "split;";
        let what = "has `split_special_tokens`, so special tokens in a text, those of the chat template too, are cut into ordinary ones, as in transformers; remove it unless that is meant";
        notes.push((CONFIG, what.to_owned()));
    }
    Ok((notes, all))
}

struct Stated<'a> {
    config: Value,
    map: Value,
    listed: Value,
    origin: &'a Path,
    /// With the file that says so, and the id that it states.
    tokens: Vec<(&'static str, AddedToken, Option<u32>)>,
    notes: Notes,
}

impl Stated<'_> {
    /// Tokens with an id of their own.
    fn by_id(&mut self, tokenizer: &Tokenizer) -> Result<()> {
        let mut stated: BTreeMap<u32, (&'static str, AddedToken)> = BTreeMap::new();
        if map_counts(&self.config) {
            let special = self.special();
            let is_special = |text: &str| special.iter().any(|(_, token)| token.content == text);
            for (text, id) in self.listed.as_object().into_iter().flatten() {
                let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) else {
                    return Err(self.wrong(ADDED, format!("has no id for {text:?}")));
                };
                stated.insert(id, (ADDED, AddedToken::from(text.as_str(), is_special(text))));
            }
            // Those of tokenizer.json take the place of others with their ids.
            for id in tokenizer.get_added_tokens_decoder().keys() {
                if let Some((_, token)) = stated.remove(id)
                    && tokenizer.token_to_id(&token.content) != Some(*id)
                {
                    let what = format!(
                        "says that {:?} is token {id}, which tokenizer.json has for {:?}: it isn't added, as in transformers",
                        token.content,
                        tokenizer.id_to_token(*id).unwrap_or_default()
                    );
                    self.notes.push((ADDED, what));
                }
            }
        } else {
            for (id, token) in self.config["added_tokens_decoder"].as_object().into_iter().flatten()
            {
                if let (Ok(id), Some(token)) = (id.parse(), token_of(token, false)) {
                    stated.insert(id, (CONFIG, token));
                }
            }
            if !self.listed.is_null() {
                let unread = self.listed.as_object().into_iter().flatten();
                let unread = unread.filter(|(text, _)| {
                    let known = stated.values().any(|(_, token)| token.content == **text);
                    !known && tokenizer.token_to_id(text).is_none()
                });
                if let Some((text, _)) = unread.clone().next() {
                    let what = format!(
                        "has {} tokens that no other file has ({text:?} is the first): they aren't used beside `added_tokens_decoder` of {CONFIG}, as in transformers",
                        unread.count()
                    );
                    self.notes.push((ADDED, what));
                }
            }
        }
        if stated.len() > MOST {
            return Err(self.wrong(CONFIG, format!("adds {} tokens", stated.len())));
        }
        let there = tokenizer.get_added_tokens_decoder();
        for (id, (file, token)) in stated {
            match tokenizer.token_to_id(&token.content) {
                Some(got) if got != id => {
                    let what = format!(
                        "says that {:?} is token {id}; tokenizer.json has it as {got}, which counts, as in transformers",
                        token.content
                    );
                    self.notes.push((file, what));
                }
                _ => {}
            }
            if !there.values().any(|other| *other == token) {
                self.tokens.push((file, token, Some(id)));
            }
        }
        Ok(())
    }

    /// Special tokens by their names, and those of the lists.
    fn by_name(&mut self, tokenizer: &Tokenizer) -> Result<()> {
        let there = tokenizer.get_added_tokens_decoder();
        let special = self.special();
        if special.len() > MOST {
            return Err(self.wrong(CONFIG, format!("names {} special tokens", special.len())));
        }
        for (file, token) in special {
            let is_there = there.values().any(|other| other.content == token.content)
                || self.tokens.iter().any(|(_, other, _)| other.content == token.content);
            if !is_there {
                self.tokens.push((file, token, None));
            }
        }
        Ok(())
    }

    /// What the files name as special: with names first, then a list.
    fn special(&self) -> Vec<(&'static str, AddedToken)> {
        let mut named: Vec<(String, &'static str, AddedToken)> = Vec::new();
        let mut list: Option<Vec<(&'static str, AddedToken)>> = None;
        let files = [(CONFIG, &self.config), (MAP, &self.map)];
        for (file, of) in files.into_iter().take(if map_counts(&self.config) { 2 } else { 1 }) {
            let alone =
                of.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_token"));
            let others = of["extra_special_tokens"].as_object().into_iter().flatten();
            for (name, value) in alone.chain(others) {
                if let Some(token) = token_of(value, true) {
                    named.retain(|(other, ..)| other != name);
                    named.push((name.clone(), file, token));
                }
            }
            let listed = |name: &str| {
                let tokens = of[name].as_array()?.iter();
                Some(
                    tokens
                        .filter_map(|value| Some((file, token_of(value, true)?)))
                        .collect::<Vec<_>>(),
                )
            };
            match (listed("extra_special_tokens"), listed("additional_special_tokens")) {
                (Some(extra), _) if !extra.is_empty() => list.get_or_insert_default().extend(extra),
                (_, Some(additional)) if list.is_none() => list = Some(additional),
                _ => {}
            }
        }
        let place =
            |name: &str| NAMED.iter().position(|known| *known == name).unwrap_or(NAMED.len());
        named.sort_by_key(|(name, ..)| place(name));
        let named = named.into_iter().map(|(_, file, token)| (file, token));
        named
            .chain(list.into_iter().flatten())
            .filter(|(_, token)| !token.content.is_empty())
            .collect()
    }

    fn wrong(&self, file: &str, problem: String) -> Error {
        Error::file(self.origin.join(file), problem, "fetch the file again")
    }
}

/// `"<s>"` or `{"content": "<s>", "lstrip": …}`.
fn token_of(value: &Value, special: bool) -> Option<AddedToken> {
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let text = text_of(value)?;
    let special = special || flag("special").unwrap_or(false);
    Some(
        AddedToken::from(text, special)
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .single_word(flag("single_word").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}
