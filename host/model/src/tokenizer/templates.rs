//! Which chat template a conversation is rendered with: a model may bring several, by name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{FURTHER_TEMPLATES, TokenizerFiles};
use crate::chat::{ChatTemplate, Moment, TemplateOptions};
use crate::error::{Error, Result};
use crate::message::Chat;

/// The name of the template that is meant where none is named.
const DEFAULT: &str = "default";
/// transformers takes this one for rows with tools.
const WITH_TOOLS: &str = "tool_use";

/// A model's templates, compiled.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    by_name: BTreeMap<String, Compiled>,
    /// The one that the configuration names.
    chosen: Option<String>,
}

/// One that isn't valid is an error where it is used, not before: another may be used.
type Compiled = std::result::Result<ChatTemplate, String>;

impl Templates {
    /// From the files of a tokenizer, with `config` what is in its tokenizer_config.json.
    pub fn read(files: &TokenizerFiles, config: &Value) -> Self {
        let mut texts = named(config);
        for (file, bytes) in files {
            let further = further(file).and_then(|name| name.strip_suffix(".jinja"));
            let name = if file == "chat_template.jinja" { Some(DEFAULT) } else { further };
            if let Some(name) = name {
                texts.insert(name.to_owned(), String::from_utf8_lossy(bytes).into_owned());
            }
        }
        Self::compiled(texts, &TemplateOptions::default())
    }

    fn compiled(texts: BTreeMap<String, String>, options: &TemplateOptions) -> Self {
        let compiled = texts.into_iter().map(|(name, text)| (name, compile(&text, options)));
        Self { by_name: compiled.collect(), chosen: options.name.clone() }
    }

    /// The same with these options, and with another template instead of all.
    ///
    /// # Errors
    /// [`Error::Template`] when the name is none of them, or the template to be used isn't valid.
    pub fn with(&self, options: &TemplateOptions, instead: Option<&str>) -> Result<Self> {
        if let Some(text) = instead {
            let template = ChatTemplate::new(text, options)?;
            return Ok(Self { by_name: [(DEFAULT.to_owned(), Ok(template))].into(), chosen: None });
        }
        if let Some(name) = &options.name
            && !self.by_name.contains_key(name)
        {
            let action = match self.names().as_str() {
                "" => "leave model.chat_template_name out".to_owned(),
                names => format!("set model.chat_template_name to one of {names}"),
            };
            return Err(Error::template(format!("the model has none named {name:?}"), action));
        }
        let recompile = |(name, old): (&String, &Compiled)| {
            let template = old.as_ref().map_err(Clone::clone);
            (name.clone(), template.and_then(|template| compile(template.text(), options)))
        };
        let this = Self {
            by_name: self.by_name.iter().map(recompile).collect(),
            chosen: options.name.clone(),
        };
        this.check()?;
        Ok(this)
    }

    /// Whether the one for rows without tools is valid.
    ///
    /// # Errors
    /// [`Error::Template`] if it isn't.
    pub fn check(&self) -> Result<()> {
        match self.usual() {
            Some(Err(problem)) => Err(invalid(problem)),
            _ => Ok(()),
        }
    }

    /// The template of a conversation.
    ///
    /// # Errors
    /// [`Error::Template`] when there is none, or no way to tell which.
    pub fn of(&self, chat: Chat<'_>) -> Result<&ChatTemplate> {
        let with_tools = self.with_tools().filter(|_| chat.inputs.tools.is_some());
        match with_tools.or_else(|| self.usual()) {
            Some(Ok(template)) => Ok(template),
            Some(Err(problem)) => Err(invalid(problem)),
            None if self.by_name.is_empty() => Err(Error::template(
                "the model's files have none (tokenizer_config.json, chat_template.jinja, or tokenizer.chat_template of a GGUF file)",
                "give one with --chat-template FILE (docs/guide/models.md has one for base models), or use a chat model",
            )),
            None => Err(Error::template(
                format!("the model has several and none is the default: {}", self.names()),
                "name one with model.chat_template_name, or give another with --chat-template FILE",
            )),
        }
    }

    /// The one for rows without tools.
    pub fn plain(&self) -> Option<&ChatTemplate> {
        self.usual()?.as_ref().ok()
    }

    /// The moment that one of them shows.
    pub fn moment(&self) -> Option<Moment> {
        let used = self.usual().into_iter().chain(self.with_tools());
        used.flatten().find_map(ChatTemplate::moment)
    }

    /// What decides beside the text how a conversation is rendered; empty where nothing is set.
    pub fn settings(&self) -> String {
        let arguments = self.plain().map(ChatTemplate::arguments).filter(|map| !map.is_empty());
        let arguments = arguments.map(|map| format!("{map:?}"));
        let moment = self.moment().map(|moment| moment.to_string());
        let with_tools = self.with_tools().and_then(|template| template.as_ref().ok());
        let with_tools = with_tools.map(|template| template.text().to_owned());
        arguments.into_iter().chain(moment).chain(with_tools).collect()
    }

    /// The one for rows with tools, unless a template was chosen by name.
    fn with_tools(&self) -> Option<&Compiled> {
        self.by_name.get(WITH_TOOLS).filter(|_| self.chosen.is_none())
    }

    fn usual(&self) -> Option<&Compiled> {
        self.by_name.get(self.chosen.as_deref().unwrap_or(DEFAULT))
    }

    fn names(&self) -> String {
        let names = self.by_name.keys().map(|name| format!("{name:?}"));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Whether a file of a tokenizer is a chat template.
pub fn is_one(file: &str) -> bool {
    file == "chat_template.jinja" || further(file).is_some()
}

fn further(file: &str) -> Option<&str> {
    file.strip_prefix(FURTHER_TEMPLATES)?.strip_prefix('/')
}

fn compile(text: &str, options: &TemplateOptions) -> Compiled {
    ChatTemplate::new(text, options).map_err(|error| match error {
        Error::Template { problem, .. } => problem,
        other => other.to_string(),
    })
}

fn invalid(problem: &str) -> Error {
    Error::template(problem, "correct it, or give another with --chat-template FILE")
}

/// `"…"`, `[{"name": "default", "template": "…"}, …]` or `{"default": "…", …}`.
fn named(config: &Value) -> BTreeMap<String, String> {
    let one =
        |name: &Value, text: &Value| Some((name.as_str()?.to_owned(), text.as_str()?.to_owned()));
    match &config["chat_template"] {
        text @ Value::String(_) => one(&DEFAULT.into(), text).into_iter().collect(),
        Value::Array(list) => {
            list.iter().filter_map(|entry| one(&entry["name"], &entry["template"])).collect()
        }
        Value::Object(map) => {
            map.iter().filter_map(|(name, text)| one(&name.as_str().into(), text)).collect()
        }
        _ => BTreeMap::new(),
    }
}
