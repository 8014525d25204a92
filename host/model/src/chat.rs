//! Chat templates: the Jinja template of a model's own files turns messages into the text the model was trained on.

mod date;
mod engine;
mod forms;
mod json;
mod python;
mod renderer;
mod source;
mod spans;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::message::Chat;

pub use date::Moment;
use engine::{FUEL, Task, Trouble};
use forms::Forms;
use renderer::Renderer;
pub use renderer::{JOB, serve};

/// The special tokens that a template may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begin of sequence, empty when the model has none.
    pub bos: String,
    /// End of sequence.
    pub eos: String,
    /// Padding.
    pub pad: String,
    /// Unknown.
    pub unk: String,
    /// Those of other names, such as `eot_token`, as the tokenizer's files name them.
    pub others: BTreeMap<String, String>,
}

/// What a configuration says about the chat template.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TemplateOptions {
    /// Which of several named templates.
    pub name: Option<String>,
    /// Variables such as `enable_thinking`, for rows that don't set them.
    pub arguments: BTreeMap<String, serde_json::Value>,
    /// The moment that `strftime_now` shows; absent, the clock's when the template is compiled.
    pub date: Option<Moment>,
}

/// A compiled chat template.
#[derive(Clone)]
pub struct ChatTemplate {
    renderer: Renderer,
    /// Variables that it reads.
    variables: BTreeSet<String>,
    text: String,
    arguments: BTreeMap<String, serde_json::Value>,
    moment: Option<Moment>,
    forms: Forms,
    /// Whether it has `{% generation %}` blocks.
    marks: bool,
}

/// A rendered conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Bytes of it that stand in `{% generation %}` blocks, ascending; what touches is one span.
    pub generated: Vec<Range<usize>>,
}

/// What helps where a template takes too much.
const CHECK: &str = "check the template for endless loops, or split the conversation";

impl ChatTemplate {
    /// Compile a template with the settings and functions that Python's transformers gives it: `trim_blocks`,
    /// `lstrip_blocks`, Python's string and list methods, `raise_exception`, `strftime_now`, `tojson`, loop controls,
    /// `{% generation %}` blocks.
    ///
    /// # Errors
    /// [`Error::Template`] with the line when the template isn't valid Jinja.
    pub fn new(text: &str, options: &TemplateOptions) -> Result<Self> {
        let moment = options.date.unwrap_or_else(|| Moment::now(text));
        let (renderer, facts) = Renderer::new(text, moment).map_err(|trouble| match trouble {
            Trouble::Invalid(problem) | Trouble::Refused(problem) | Trouble::Bounds(problem) => {
                Error::template(problem, "correct it, or give another with --chat-template FILE")
            }
            Trouble::Fuel => out_of_fuel(),
        })?;
        let mut this = Self {
            renderer,
            variables: facts.variables,
            text: text.to_owned(),
            arguments: options.arguments.clone(),
            moment: text.contains("strftime_now").then_some(moment),
            forms: Forms::default(),
            marks: facts.marks,
        };
        this.forms = Forms::of(&this);
        Ok(this)
    }

    /// Whether the template reads a variable of this name, which isn't given to every conversation.
    pub fn reads(&self, variable: &str) -> bool {
        const GIVEN: [&str; 6] = [
            "messages",
            "add_generation_prompt",
            "bos_token",
            "eos_token",
            "pad_token",
            "unk_token",
        ];
        !GIVEN.contains(&variable) && self.variables.contains(variable)
    }

    /// Whether it writes something else for messages that have a key of this name.
    pub fn reads_key(&self, key: &str) -> bool {
        forms::reads_key(self, key)
    }

    /// The template's text as found.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The moment that it shows, if it shows one.
    pub fn moment(&self) -> Option<Moment> {
        self.moment
    }

    /// The variables that it is given for every row.
    pub fn arguments(&self) -> &BTreeMap<String, serde_json::Value> {
        &self.arguments
    }

    /// Whether the template's text has this word, such as the name of a variable or of a key of messages.
    pub fn mentions(&self, word: &str) -> bool {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        self.text.match_indices(word).any(|(at, _)| {
            !self.text[..at].ends_with(part) && !self.text[at + word.len()..].starts_with(part)
        })
    }

    /// Render a conversation; with `add_generation_prompt` it ends where the model's answer begins.
    ///
    /// # Errors
    /// [`Error::Template`] when the template refuses the messages (a role it doesn't know, an order it doesn't allow).
    pub fn render<'a>(
        &self,
        chat: impl Into<Chat<'a>>,
        add_generation_prompt: bool,
        special: &SpecialTokens,
    ) -> Result<Rendered> {
        let chat = chat.into();
        let mut outcome = Err(Trouble::Refused(String::new()));
        for messages in self.forms.attempts(chat.messages) {
            outcome = self.render_values(messages, chat, add_generation_prompt, special);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map_err(|trouble| match trouble {
            Trouble::Fuel => out_of_fuel(),
            Trouble::Bounds(problem) => Error::template(problem, CHECK),
            Trouble::Refused(why) | Trouble::Invalid(why) => Error::template(
                format!("refuses the conversation: {why}"),
                "check the roles and their order, or give another template with --chat-template FILE",
            ),
        })
    }

    fn render_values(
        &self,
        messages: Vec<Value>,
        chat: Chat<'_>,
        add_generation_prompt: bool,
        special: &SpecialTokens,
    ) -> std::result::Result<Rendered, Trouble> {
        let inputs = chat.inputs;
        let own = [
            ("bos_token", &special.bos),
            ("eos_token", &special.eos),
            ("pad_token", &special.pad),
            ("unk_token", &special.unk),
        ];
        let others = special.others.iter().map(|(name, token)| (name.as_str(), token));
        let mut variables: BTreeMap<String, Value> = others
            .chain(own)
            .map(|(name, token)| (name.to_owned(), token.as_str().into()))
            .collect();
        for (name, value) in self.arguments.iter().chain(&inputs.kwargs) {
            variables.insert(name.clone(), value.clone());
        }
        // As transformers passes them: None where the row has none.
        let optional = |value: &Option<Value>| value.clone().unwrap_or_default();
        variables.insert("tools".into(), optional(&inputs.tools));
        variables.insert("documents".into(), optional(&inputs.documents));
        variables.insert("add_generation_prompt".into(), add_generation_prompt.into());
        let text = self.renderer.render(&Task { messages, variables })?;
        if !self.marks {
            return Ok(Rendered { text, generated: Vec::new() });
        }
        let forged = |error: minijinja::Error| Trouble::Refused(engine::cause(&error));
        spans::check(chat).map_err(forged)?;
        spans::read(&text).map_err(forged)
    }
}

fn out_of_fuel() -> Error {
    Error::template(format!("takes more than {FUEL} instructions for one conversation"), CHECK)
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ChatTemplate").field(&self.text).finish()
    }
}

#[cfg(test)]
#[path = "chat/tests.rs"]
mod tests;
