//! Text to token ids and back, and conversations to training sequences.

mod added_tokens;
mod answers;
mod beginnings;
pub(crate) mod bounded;
mod files;
mod layout;
mod library;
mod named_tokens;
mod pieces;
mod stages;
mod templates;
mod thoughts;

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use host_files::sha256;
use tokenizers::Tokenizer;

use crate::chat::{ChatTemplate, Moment, Rendered, SpecialTokens, TemplateOptions};
use crate::error::{Error, Result};
use crate::message::{Chat, Message};

pub(crate) use added_tokens::Notes;
pub use answers::EncodedChat;
pub use beginnings::Unlike;
use bounded::Bounded;
pub use files::{FURTHER_TEMPLATES, SIDE_FILES, TokenizerFiles, read_file};
pub(crate) use files::{id_list, map_counts, parse, read_json, token_text};
pub use pieces::{TextStream, TokenText};
pub use stages::Stage;
use templates::Templates;
use thoughts::ThoughtStyle;
pub use thoughts::{Spoken, ThoughtUse};

/// Tokens of white space that a template may write behind the end of a turn.
const LAST_BLANKS: usize = 8;

/// The tokenizer and chat template of one model.
#[derive(Debug, Clone)]
pub struct ChatTokenizer {
    tokenizer: Bounded,
    templates: Templates,
    /// How the template for rows without tools writes a thought.
    thoughts: ThoughtStyle,
    special: SpecialTokens,
    special_ids: HashSet<u32>,
    stop: Vec<u32>,
    files: TokenizerFiles,
    /// Rows of the model's embedding, if it has fewer than there are ids.
    rows: Option<u32>,
    /// What other files add to tokenizer.json, as a text.
    added: String,
}

impl ChatTokenizer {
    /// From the files of a model; `origin` names them in errors, `eos` are the ids that config.json ends a text with.
    ///
    /// # Errors
    /// [`Error::File`] when tokenizer.json is missing or a file isn't valid, [`Error::Template`] for the template.
    pub fn from_files(files: TokenizerFiles, origin: &Path, eos: &[u32]) -> Result<Self> {
        let path = origin.join("tokenizer.json");
        let Some(bytes) = files.get("tokenizer.json") else {
            let action = "save the tokenizer in the fast format: AutoTokenizer.from_pretrained(…).save_pretrained(folder)";
            return Err(Error::file(path, "is missing", action));
        };
        let tokenizer = parse(&path, bytes)?;
        Ok(Self::completed(tokenizer, files, origin, eos)?.0)
    }

    /// With the tokens that the files beside tokenizer.json add, and lines about them.
    ///
    /// # Errors
    /// As [`ChatTokenizer::from_files`].
    pub(crate) fn completed(
        mut tokenizer: Tokenizer,
        files: TokenizerFiles,
        origin: &Path,
        eos: &[u32],
    ) -> Result<(Self, Notes)> {
        let (notes, added) = added_tokens::add(&mut tokenizer, &files, origin)?;
        let mut this = Self::new(tokenizer, files, origin, eos)?;
        this.added = added;
        Ok((this, notes))
    }

    /// As [`ChatTokenizer::from_files`], with tokenizer.json parsed already.
    pub(crate) fn new(
        tokenizer: Tokenizer,
        files: TokenizerFiles,
        origin: &Path,
        eos: &[u32],
    ) -> Result<Self> {
        let json = |name: &str| read_json(&files, origin, name);
        let (config, map) = (json("tokenizer_config.json")?, json("special_tokens_map.json")?);
        let (first, second) = if map_counts(&config) { (&map, &config) } else { (&config, &map) };
        let token = |name: &str| {
            token_text(first, name).or_else(|| token_text(second, name)).unwrap_or_default()
        };
        let special = SpecialTokens {
            bos: token("bos_token"),
            eos: token("eos_token"),
            pad: token("pad_token"),
            unk: token("unk_token"),
            others: named_tokens::other(&config, &map),
        };
        let added = tokenizer.get_added_tokens_decoder();
        let special_ids =
            added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let templates = Templates::read(&files, &config);
        let mut stop = id_list(json("generation_config.json")?.get("eos_token_id"));
        stop.extend_from_slice(eos);
        stop.extend(tokenizer.token_to_id(&special.eos));
        let thoughts = ThoughtStyle::default();
        let tokenizer = Bounded::from(tokenizer);
        let mut this = Self {
            tokenizer,
            templates,
            thoughts,
            special,
            special_ids,
            stop,
            files,
            rows: None,
            added: String::new(),
        };
        this.try_template();
        Ok(this)
    }

    /// With what a configuration says about the chat template; `instead` is another template's text.
    ///
    /// # Errors
    /// [`Error::Template`] when the template isn't valid Jinja, or the model has none of that name.
    pub fn with_template(
        mut self,
        options: &TemplateOptions,
        instead: Option<&str>,
    ) -> Result<Self> {
        if instead.is_none() && *options == TemplateOptions::default() {
            // Compiled and tried like that already.
            return self.templates.check().map(|()| self);
        }
        self.templates = self.templates.with(options, instead)?;
        if let Some(text) = instead {
            self.files.retain(|name, _| !templates::is_one(name));
            self.files.insert("chat_template.jinja".to_owned(), text.as_bytes().to_vec());
        }
        self.try_template();
        Ok(self)
    }

    /// Finds out what a template's answers look like.
    fn try_template(&mut self) {
        self.thoughts = self.thought_style();
        self.complete_stop_tokens();
    }

    /// The token with which the template ends an answer stops generation too, whatever the files say.
    fn complete_stop_tokens(&mut self) {
        let probe = self.encode_chat(&[Message::user("a"), Message::assistant("b")]);
        if let Ok(chat) = probe
            && let Some(answer) = chat.answer.first().and_then(|it| chat.tokens.get(it.clone()))
            && let Some(last) = self.ending(answer)
            && self.special_ids.contains(&last)
        {
            self.stop.push(last);
        }
        let mut seen = HashSet::new();
        self.stop.retain(|id| seen.insert(*id));
    }

    /// Token ids of a text. Nothing is added: a rendered conversation holds its special tokens already.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the tokenizer can't represent the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encoding(text)?.get_ids().to_vec())
    }

    fn encoding(&self, text: &str) -> Result<tokenizers::Encoding> {
        self.encoding_of(text, false)
    }

    /// With `surrounded`, with the tokens that the tokenizer puts around a text.
    fn encoding_of(&self, text: &str, surrounded: bool) -> Result<tokenizers::Encoding> {
        let encoding = self.tokenizer.encode(text, surrounded).map_err(|e| {
            Error::tokenizer(
                format!("can't encode a text: {e}"),
                "remove the row, or check tokenizer.json",
            )
        })?;
        let beyond = |id: &&u32| self.rows.is_some_and(|rows| **id >= rows);
        match encoding.get_ids().iter().find(beyond) {
            None => Ok(encoding),
            Some(id) => Err(Error::tokenizer(
                format!(
                    "a text holds {:?} (id {id}), but the model embeds {} ids",
                    self.token(*id).unwrap_or_default(),
                    self.rows.unwrap_or_default()
                ),
                "remove that token from data or template, or use the tokenizer that belongs to the model",
            )),
        }
    }

    /// Refuses from now on texts with ids that a model of `rows` embedded ids doesn't have. How many of the tokenizer's
    /// ids these are, and the first of them.
    pub(crate) fn limit(&mut self, rows: usize) -> (usize, Option<String>) {
        let beyond = |id: &u32| *id as usize >= rows;
        let mut ids: Vec<u32> =
            self.tokenizer.get_vocab(true).into_values().filter(beyond).collect();
        ids.sort_unstable();
        self.rows = ids.first().and(u32::try_from(rows).ok());
        (ids.len(), ids.first().and_then(|id| self.token(*id)))
    }

    /// Text of token ids, without special tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the ids aren't of this tokenizer.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.text(ids, true)
    }

    /// Text of tokens with the special tokens, as the model sees it.
    ///
    /// # Errors
    /// As [`ChatTokenizer::decode`].
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String> {
        self.text(ids, false)
    }

    fn text(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.tokenizer.decode(ids, skip_special).map_err(|e| {
            Error::tokenizer(
                format!("can't decode: {e}"),
                "check that model and tokenizer belong together",
            )
        })
    }

    /// The text of one id as the vocabulary holds it, none for an id it doesn't have.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The id of a text that is one token.
    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    /// One more than the highest token id.
    pub fn vocab_size(&self) -> usize {
        let highest = self.tokenizer.get_vocab(true).into_values().max();
        highest.map_or(0, |id| id as usize + 1)
    }

    /// Tokens that end an answer.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop
    }

    /// The token that an answer ends with, white space behind it left out: a model that stops there needn't learn it.
    pub fn ending(&self, answer: &[u32]) -> Option<u32> {
        let is_blank =
            |id: u32| self.decode_with_special(&[id]).is_ok_and(|it| it.trim().is_empty());
        let last = answer.iter().rev().take(LAST_BLANKS).copied();
        last.clone()
            .find(|id| self.special_ids.contains(id) || !is_blank(*id))
            .or(answer.last().copied())
    }

    /// Special tokens by their text.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// The chat template's text, if there is one.
    pub fn chat_template(&self) -> Option<&str> {
        self.templates.plain().map(ChatTemplate::text)
    }

    /// Whether the template of a conversation names a word. A template that isn't there is
    /// the error of who renders.
    pub fn template_mentions(&self, chat: Chat<'_>, word: &str) -> bool {
        self.templates.of(chat).map_or(true, |template| template.mentions(word))
    }

    /// The moment that the chat template shows (`strftime_now`), if it shows one.
    pub fn template_moment(&self) -> Option<Moment> {
        self.templates.moment()
    }

    /// Whether the chat template reads a variable of this name that isn't one of ours.
    pub fn template_reads(&self, variable: &str) -> bool {
        self.templates.plain().is_some_and(|template| template.reads(variable))
    }

    /// Whether the chat template writes something else for messages that have a key of this name.
    pub fn template_reads_key(&self, key: &str) -> bool {
        self.templates.plain().is_some_and(|template| template.reads_key(key))
    }

    /// The files this tokenizer is made of, to be saved with a model.
    pub fn files(&self) -> &TokenizerFiles {
        &self.files
    }

    /// sha256 (hex) of everything that decides which ids a conversation becomes: tokenizer, special tokens, template.
    pub fn digest(&self) -> String {
        let special = &self.special;
        let texts = [
            self.chat_template().unwrap_or(""),
            &special.bos,
            &special.eos,
            &special.pad,
            &special.unk,
        ];
        let json = self.files.get("tokenizer.json").map_or(&[][..], Vec::as_slice);
        let parts = std::iter::once(json).chain(texts.iter().map(|t| t.as_bytes()));
        let settings = self.templates.settings();
        let others = special.others.iter().filter(|(name, _)| self.template_reads(name));
        let others = others.map(|(name, text)| format!("{name}={text:?};"));
        let settings = settings + &others.collect::<String>() + &self.added;
        let parts = parts.chain((!settings.is_empty()).then_some(settings.as_bytes()));
        let lengths_first = parts.flat_map(|part| {
            let length = (part.len() as u64).to_le_bytes().to_vec();
            [Cow::Owned(length), Cow::Borrowed(part)]
        });
        sha256::hex_of(lengths_first)
    }

    /// The text of a conversation; with `add_generation_prompt` it ends where an answer begins.
    ///
    /// # Errors
    /// [`Error::Template`] when the model has no template or the template refuses the messages.
    pub fn render<'a>(
        &self,
        chat: impl Into<Chat<'a>>,
        add_generation_prompt: bool,
    ) -> Result<String> {
        Ok(self.rendered(chat.into(), add_generation_prompt)?.text)
    }

    fn rendered(&self, chat: Chat<'_>, add_generation_prompt: bool) -> Result<Rendered> {
        self.templates.of(chat)?.render(chat, add_generation_prompt, &self.special)
    }

    /// Tokens of a conversation up to where the next answer begins.
    ///
    /// # Errors
    /// As [`ChatTokenizer::render`] and [`ChatTokenizer::encode`].
    pub fn encode_prompt<'a>(&self, chat: impl Into<Chat<'a>>) -> Result<Vec<u32>> {
        self.encode(&self.render(chat, true)?)
    }
}
