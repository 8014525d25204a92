//! Chat templates: the Jinja template of a model's own files turns messages into the text the model was trained on.

mod date;
mod forms;
mod json;
mod python;
mod source;
mod spans;

use std::collections::BTreeMap;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind};

use crate::error::{Error, Result};
use crate::message::Chat;

pub use date::Moment;
use forms::Forms;

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
    environment: Environment<'static>,
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

const NAME: &str = "chat template";
/// Instructions and blocks of 64 bytes that rendering one conversation may take. A hundred messages take a thousandth.
const FUEL: u64 = 3_000_000;
/// Characters of what a template says about a conversation that it refuses.
const LONGEST_CAUSE: usize = 300;

impl ChatTemplate {
    /// Compile a template with the settings and functions that Python's transformers gives it: `trim_blocks`,
    /// `lstrip_blocks`, Python's string and list methods, `raise_exception`, `strftime_now`, `tojson`, loop controls,
    /// `{% generation %}` blocks.
    ///
    /// # Errors
    /// [`Error::Template`] with the line when the template isn't valid Jinja.
    pub fn new(text: &str, options: &TemplateOptions) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment
            .set_syntax(syntax.map_err(|e| Error::template(cause(&e), "report this as a bug"))?);
        environment.set_fuel(Some(FUEL));
        python::add_to(&mut environment);
        spans::add_to(&mut environment);
        environment.add_function("raise_exception", raise_exception);
        let moment = options.date.unwrap_or_else(|| Moment::now(text));
        environment.add_function("strftime_now", move |format: &str| moment.strftime(format));
        environment.add_filter("tojson", json::filter);
        let source = source::normalised(text);
        let marks = source.contains(source::GENERATION);
        environment.add_template_owned(NAME, source).map_err(|e| {
            let line = e.line().map_or_else(String::new, |l| format!(" in line {l}"));
            Error::template(
                format!("isn't valid Jinja{line}: {}", cause(&e)),
                "correct it, or give another with --chat-template FILE",
            )
        })?;
        let mut this = Self {
            environment,
            text: text.to_owned(),
            arguments: options.arguments.clone(),
            moment: text.contains("strftime_now").then_some(moment),
            forms: Forms::default(),
            marks,
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
        let template = self.environment.get_template(NAME);
        !GIVEN.contains(&variable)
            && template
                .is_ok_and(|template| template.undeclared_variables(false).contains(variable))
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
        let mut outcome = Err(ErrorKind::InvalidOperation.into());
        for messages in self.forms.attempts(chat.messages) {
            outcome = self.render_values(messages, chat, add_generation_prompt, special);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map_err(|e: minijinja::Error| {
            if e.kind() == ErrorKind::OutOfFuel {
                return Error::template(
                    format!("takes more than {FUEL} instructions for one conversation"),
                    "check the template for endless loops, or split the conversation",
                );
            }
            Error::template(
                format!("refuses the conversation: {}", cause(&e)),
                "check the roles and their order, or give another template with --chat-template FILE",
            )
        })
    }

    fn render_values(
        &self,
        messages: Vec<Value>,
        chat: Chat<'_>,
        add_generation_prompt: bool,
        special: &SpecialTokens,
    ) -> std::result::Result<Rendered, minijinja::Error> {
        let inputs = chat.inputs;
        // As transformers passes them: None where the row has none.
        let optional = |value: &Option<serde_json::Value>| {
            value.as_ref().map_or(Value::from(()), |value| Value::from(Serde(value)))
        };
        let mut variables: BTreeMap<&str, Value> = BTreeMap::from([
            ("bos_token", special.bos.as_str().into()),
            ("eos_token", special.eos.as_str().into()),
            ("pad_token", special.pad.as_str().into()),
            ("unk_token", special.unk.as_str().into()),
        ]);
        for (name, value) in self.arguments.iter().chain(&inputs.kwargs) {
            variables.insert(name, Value::from(Serde(value)));
        }
        variables.insert("messages", messages.into());
        variables.insert("tools", optional(&inputs.tools));
        variables.insert("documents", optional(&inputs.documents));
        variables.insert("add_generation_prompt", add_generation_prompt.into());
        let template = self.environment.get_template(NAME)?;
        let text = template.render(Value::from_pairs(variables))?;
        if !self.marks {
            return Ok(Rendered { text, generated: Vec::new() });
        }
        spans::check(chat)?;
        spans::read(&text)
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ChatTemplate").field(&self.text).finish()
    }
}

fn raise_exception(message: String) -> std::result::Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

/// One line: the template's own words may hold anything.
fn cause(error: &minijinja::Error) -> String {
    let text = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    shown.take(LONGEST_CAUSE).collect()
}

#[cfg(test)]
#[path = "chat/tests.rs"]
mod tests;
