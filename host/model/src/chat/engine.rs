//! The template engine: one compiled template, set up as Python's transformers sets up its own.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind};
use serde::{Deserialize, Serialize};

use super::date::Moment;
use super::{json, python, source, spans};

const NAME: &str = "chat template";
/// Instructions and blocks of 64 bytes that rendering one conversation may take. A hundred messages take a thousandth.
pub const FUEL: u64 = 3_000_000;
/// Characters of what a template says about a conversation that it refuses.
const LONGEST_CAUSE: usize = 300;

/// What a template is rendered with.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Task {
    /// The messages, in the form that the template takes.
    pub messages: Vec<serde_json::Value>,
    /// All other variables.
    pub variables: BTreeMap<String, serde_json::Value>,
}

/// Why nothing was rendered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Trouble {
    /// The template is no valid Jinja: what is wrong.
    Invalid(String),
    /// It takes more than [`FUEL`].
    Fuel,
    /// It refuses the conversation, in its own words.
    Refused(String),
    /// It can't be rendered within bounds.
    Bounds(String),
}

/// What a compiled template says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// Whether it has `{% generation %}` blocks.
    pub marks: bool,
    /// Variables that it reads.
    pub variables: BTreeSet<String>,
}

/// A compiled template.
pub struct Engine(Environment<'static>);

impl Engine {
    /// Compiles a template; `moment` is what `strftime_now` shows.
    pub fn new(text: &str, moment: Moment) -> Result<(Self, Facts), Trouble> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| Trouble::Invalid(cause(&e)))?);
        environment.set_fuel(Some(FUEL));
        python::add_to(&mut environment);
        spans::add_to(&mut environment);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", move |format: &str| moment.strftime(format));
        environment.add_filter("tojson", json::filter);
        let source = source::normalised(text);
        let marks = source.contains(source::GENERATION);
        environment.add_template_owned(NAME, source).map_err(|e| {
            let line = e.line().map_or_else(String::new, |l| format!(" in line {l}"));
            Trouble::Invalid(format!("isn't valid Jinja{line}: {}", cause(&e)))
        })?;
        let template = environment.get_template(NAME);
        let variables = template.map(|it| it.undeclared_variables(false)).unwrap_or_default();
        let facts = Facts { marks, variables: variables.into_iter().collect() };
        Ok((Self(environment), facts))
    }

    /// Renders one conversation.
    pub fn render(&self, task: &Task) -> Result<String, Trouble> {
        let value = |json: &serde_json::Value| Value::from(Serde(json));
        let messages: Vec<Value> = task.messages.iter().map(value).collect();
        let others = task.variables.iter().map(|(name, json)| (name.as_str(), value(json)));
        let variables = others.chain([("messages", messages.into())]);
        let rendered = self.0.get_template(NAME).and_then(|template| {
            template.render(Value::from_pairs(variables.collect::<BTreeMap<_, _>>()))
        });
        rendered.map_err(|error| match error.kind() {
            ErrorKind::OutOfFuel => Trouble::Fuel,
            _ => Trouble::Refused(cause(&error)),
        })
    }
}

fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

/// One line: the template's own words may hold anything.
pub fn cause(error: &minijinja::Error) -> String {
    let text = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    shown.take(LONGEST_CAUSE).collect()
}
