//! The forms in which a template takes what a message carries.
//!
//! OpenAI's form, in which data comes, leaves choices: content is text or a list of parts, arguments of a call are
//! text or an object, a thought has three names. A template takes one form, and drops or garbles another without a
//! word. So each template is tried once with words of our own, and messages are given in the form that keeps them.

use serde_json::{Map, Value as Json, json};

use super::{ChatTemplate, SpecialTokens};
use crate::message::{Chat, Message, TemplateInputs};

/// Which form a template takes, where it doesn't take both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forms {
    /// Of content given as text or as parts.
    content: Content,
    arguments: Arguments,
    /// Whether `developer` is a role that it knows.
    developer: bool,
    /// Whether it reads a thought by this name.
    reasoning: bool,
    /// Of thoughts, where it takes them as parts of the content alone.
    thought: Option<Thought>,
}

/// A part of type `thinking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thought {
    /// With text.
    Text,
    /// With a list of text parts, as Mistral writes it.
    Parts,
}

impl Thought {
    fn part(self, thought: &str) -> Json {
        let thought = match self {
            Self::Text => thought.into(),
            Self::Parts => json!([text_part(thought)]),
        };
        json!({"type": "thinking", "thinking": thought})
    }
}

fn text_part(text: &str) -> Json {
    json!({"type": "text", "text": text})
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Content {
    /// As given.
    #[default]
    Both,
    Text,
    Parts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Arguments {
    #[default]
    Both,
    Text,
    Object,
}

/// A word that no template has.
const WORD: &str = "Qzxv";

impl Forms {
    /// Tries a template out.
    pub fn of(template: &ChatTemplate) -> Self {
        let trial = Trial { template };
        Self {
            content: trial.content(),
            arguments: trial.arguments(),
            developer: template.mentions("developer"),
            reasoning: template.mentions("reasoning"),
            thought: trial.thought(),
        }
    }

    /// The messages as the template takes them; if it refuses them so, as it may take them else.
    pub fn attempts(self, messages: &[Message]) -> impl Iterator<Item = Vec<Json>> {
        // transformers leaves the key out where content is absent, which templates of its earlier versions don't expect.
        let absent = messages.iter().any(|message| given(&message.content).is_null());
        let forms = [None, Some(Json::Null), Some(json!(""))];
        forms.into_iter().take(if absent { 3 } else { 1 }).map(move |empty| {
            messages.iter().map(|message| self.message(message, empty.as_ref())).collect()
        })
    }

    fn message(self, message: &Message, empty: Option<&Json>) -> Json {
        let mut map = Map::new();
        if let Some(thought) = &message.reasoning {
            // Its names, and their order, are those of transformers.
            map.insert("thinking".into(), thought.as_str().into());
        }
        let is_developer = message.role == "developer" && !self.developer;
        map.insert("role".into(), if is_developer { "system" } else { &*message.role }.into());
        let content = match (given(&message.content), self.content) {
            (Json::Null, _) => empty.cloned(),
            (Json::String(text), Content::Parts) => Some(json!([text_part(&text)])),
            (Json::Array(_), Content::Text) => Some(message.content.as_str().into()),
            (given, _) => Some(given),
        };
        let content = match (self.thought, &message.reasoning) {
            (Some(form), Some(thought)) => {
                let said = match content {
                    Some(Json::Array(parts)) => parts,
                    Some(Json::String(text)) if !text.is_empty() => vec![text_part(&text)],
                    _ => Vec::new(),
                };
                Some([vec![form.part(thought)], said].concat().into())
            }
            _ => content,
        };
        map.extend(content.map(|content| ("content".to_owned(), content)));
        if let Some(thought) = &message.reasoning {
            map.insert("reasoning_content".into(), thought.as_str().into());
            if self.reasoning {
                map.insert("reasoning".into(), thought.as_str().into());
            }
        }
        if !message.tool_calls.is_empty() {
            let calls = message.tool_calls.iter().map(|call| self.call(call));
            map.insert("tool_calls".into(), calls.collect());
        }
        for (key, value) in [("name", &message.name), ("tool_call_id", &message.tool_call_id)] {
            map.extend(value.as_deref().map(|value| (key.to_owned(), value.into())));
        }
        map.into()
    }

    fn call(self, call: &Json) -> Json {
        let mut call = call.clone();
        let function =
            if call.get("function").is_some() { &mut call["function"] } else { &mut call };
        let Some(arguments) = function.get_mut("arguments") else { return call };
        match (&*arguments, self.arguments) {
            (Json::String(text), Arguments::Object) => {
                if let Ok(object @ Json::Object(_)) = serde_json::from_str(text) {
                    *arguments = object;
                }
            }
            (Json::Object(_), Arguments::Text) => *arguments = arguments.to_string().into(),
            _ => {}
        }
        call
    }
}

/// Text, a list of parts, or null.
fn given(content: &crate::message::Content) -> Json {
    serde_json::to_value(content).unwrap_or_default()
}

/// Whether a template writes something else for messages that have a key of this name.
pub fn reads_key(template: &ChatTemplate, key: &str) -> bool {
    let trial = Trial { template };
    let rendered = |roles: &[&str], value: Option<Json>| {
        let one = |role: &&str| {
            let mut message = json!({"role": role, "content": "a"});
            if let Some(value) = &value {
                message[key] = value.clone();
            }
            message
        };
        trial.render(roles.iter().map(one).collect())
    };
    let roles = [&["system", "user", "assistant"][..], &["user", "assistant"]];
    roles.into_iter().any(|roles| {
        let plain = rendered(roles, None);
        let values = [WORD.into(), json!([{ (WORD): WORD }]), true.into()];
        plain.is_some() && values.into_iter().any(|it| rendered(roles, Some(it)) != plain)
    })
}

struct Trial<'a> {
    template: &'a ChatTemplate,
}

impl Trial<'_> {
    fn render(&self, messages: Json) -> Option<String> {
        let inputs = TemplateInputs::NONE;
        let chat = Chat { messages: &[], inputs };
        let messages = messages.as_array()?.clone();
        let special = SpecialTokens::default();
        self.template.render_values(messages, chat, false, &special).ok().map(|it| it.text)
    }

    fn content(&self) -> Content {
        let parts = json!([{"type": "text", "text": WORD}]);
        let of = |content: Json| self.render(json!([{"role": "user", "content": content}]));
        let text = of(WORD.into()).is_some_and(|text| text.contains(WORD));
        // A list that is printed as Python prints it isn't understood.
        let listed = |text: String| text.contains(WORD) && !text.contains("'type'");
        match (text, of(parts).is_some_and(listed)) {
            (true, false) => Content::Text,
            (false, true) => Content::Parts,
            _ => Content::Both,
        }
    }

    fn thought(&self) -> Option<Thought> {
        if !self.template.mentions("thinking") {
            return None;
        }
        let asked = json!({"role": "user", "content": "a"});
        let of = |answer: Json| {
            // A list or object that is printed isn't understood.
            let understood =
                |text: &String| !["'type'", "\"type\""].iter().any(|it| text.contains(it));
            let text = self.render(json!([asked, answer])).filter(understood);
            text.is_some_and(|text| text.contains(WORD))
        };
        let mut by_key = json!({"role": "assistant", "content": "b"});
        for key in ["thinking", "reasoning_content", "reasoning"] {
            by_key[key] = WORD.into();
        }
        if of(by_key) {
            return None;
        }
        [Thought::Text, Thought::Parts].into_iter().find(|form| {
            of(json!({"role": "assistant", "content": [form.part(WORD), text_part("b")]}))
        })
    }

    fn arguments(&self) -> Arguments {
        let of = |arguments: Json| {
            let call = json!({"id": "call_1aB2c", "type": "function", "function": {"name": "f", "arguments": arguments}});
            let asked = json!({"role": "user", "content": "a"});
            let called = json!({"role": "assistant", "content": "", "tool_calls": [call]});
            self.render(json!([asked, called]))
        };
        let text = of(format!("{{\"{WORD}\": 1}}").into());
        let text = text.is_some_and(|text| text.contains(&format!("{{\"{WORD}\": 1}}")));
        // A template may write an object in a form of its own, but not as Python prints it.
        let object = |text: String| text.contains(WORD) && !text.contains(&format!("'{WORD}'"));
        match (text, of(json!({ (WORD): 1 })).is_some_and(object)) {
            (true, false) => Arguments::Text,
            (false, true) => Arguments::Object,
            _ => Arguments::Both,
        }
    }
}
