//! From a pair to the text before the verdict.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use host_data::failure::{Failure as Error, Result};
use host_model::{Chat, ChatTokenizer, Content, Message, TemplateInputs};
use serde_json::{Value, json};

use super::manner::{Manner, Prompt};
use crate::Pair;

/// Words that no template holds, to see whether it shows what it is given.
const SAID: [&str; 2] = ["quixotic lighthouse", "marmalade harbour"];

/// Writes the prompts of one model.
pub struct Writer {
    prompt: Prompt,
    inputs: TemplateInputs,
    /// Whether the model may think, or write something else, before its verdict.
    writes: bool,
    /// Whether the template wants content as a list of parts.
    parts: bool,
    folded_told: AtomicBool,
    earlier_told: AtomicBool,
}

impl Writer {
    /// Tries out in which form the template shows what it is given.
    ///
    /// # Errors
    /// If it shows it in none; `key` names the judge's section of the configuration.
    pub fn new(manner: &Manner, tokenizer: &ChatTokenizer, key: &str) -> Result<Self> {
        let (prompt, writes) = (manner.prompt.clone(), manner.after.is_some());
        let kwargs = match &prompt {
            Prompt::Conversation(variables) => variables.iter().cloned().collect(),
            _ => BTreeMap::<String, Value>::new(),
        };
        let inputs = TemplateInputs { kwargs, ..TemplateInputs::default() };
        let mut writer = Self {
            prompt,
            inputs,
            writes,
            parts: false,
            folded_told: AtomicBool::new(false),
            earlier_told: AtomicBool::new(false),
        };
        let [request, answer] = SAID;
        let messages = [Message::user(request)];
        let mut refusal = None;
        for parts in [false, true] {
            writer.parts = parts;
            match writer.lay_out(&Pair { messages: &messages, answer }, tokenizer) {
                Ok(text)
                    if SAID.iter().all(|said| text.contains(said))
                        && missing(&text, &writer.instructions()).is_none() =>
                {
                    return Ok(writer);
                }
                Ok(_) => {}
                Err(error) => drop(refusal.get_or_insert(error.to_string())),
            }
        }
        let problem = match refusal {
            Some(error) => format!("the guard's {error}"),
            None => {
                "the guard's chat template leaves out what was said or answered, as text and as a \
                     list of parts, so it would judge nothing"
                    .into()
            }
        };
        let remedy = match &writer.prompt {
            Prompt::Conversation(_) => "take asks = \"question\"",
            _ => "take asks = \"conversation\" or another model",
        };
        Err(Error::config(format!("{key}.asks"), format!("{problem}; {remedy}")))
    }

    /// All that decides what it writes.
    pub fn identity(&self) -> String {
        format!("{:?} {}", self.prompt, self.parts)
    }

    /// The text up to where the model's answer begins.
    ///
    /// # Errors
    /// If the template refuses the conversation, or leaves out what is judged.
    pub fn write(&self, pair: &Pair<'_>, tokenizer: &ChatTokenizer) -> host_model::Result<String> {
        if !matches!(self.prompt, Prompt::Conversation(_)) {
            return self.lay_out(pair, tokenizer);
        }
        let conversation = pair.conversation();
        let rendered = self.render(&conversation, tokenizer);
        let shows = |rendered: &host_model::Result<String>, messages: &[Message]| {
            rendered.as_ref().is_ok_and(|text| missing(text, messages).is_none())
        };
        if shows(&rendered, &conversation) {
            return rendered;
        }
        if let Some(folded) = folded(&conversation) {
            let again = self.render(&folded, tokenizer);
            if shows(&again, &folded) {
                let what = "the guard's chat template takes or shows no system message; it is judged as the \
                            beginning of the user's";
                tell(&self.folded_told, what);
                return again;
            }
        }
        let text = rendered?;
        // What is judged is the answer to the last request.
        let last = &conversation[conversation.len().saturating_sub(2)..];
        if let Some(message) = missing(&text, last) {
            return Err(host_model::Error::Template {
                problem: format!(
                    "leaves out the last message of role {}, so the guard would judge something else",
                    host_files::text::clean(&message.role, 20)
                ),
                action: "take asks = \"question\" or another model".into(),
            });
        }
        let what = "the guard's chat template leaves out earlier messages of conversations: only the last \
                    request and its answer are judged; asks = \"question\" shows all";
        tell(&self.earlier_told, what);
        Ok(text)
    }

    /// The system's message, where it says what to judge.
    fn instructions(&self) -> Vec<Message> {
        match &self.prompt {
            Prompt::Policy(policy) => vec![Message::new("system", policy.trim_end())],
            _ => Vec::new(),
        }
    }

    fn lay_out(&self, pair: &Pair<'_>, tokenizer: &ChatTokenizer) -> host_model::Result<String> {
        let said = || json!({"conversation": pair.messages, "answer": pair.answer}).to_string();
        match &self.prompt {
            Prompt::Question(question) => {
                let asked = format!("{}\n{}", question.trim_end(), said());
                self.render(&[Message::user(asked)], tokenizer)
            }
            Prompt::Policy(policy) => {
                let policy = Message::new("system", policy.trim_end());
                self.render(&[policy, Message::user(said())], tokenizer)
            }
            Prompt::Frame(instruction) => Ok(frame(instruction, pair, tokenizer)),
            Prompt::Conversation(_) => self.render(&pair.conversation(), tokenizer),
        }
    }

    fn render(
        &self,
        messages: &[Message],
        tokenizer: &ChatTokenizer,
    ) -> host_model::Result<String> {
        let content = |message: &Message| {
            let text = message.utterance().text.into_owned();
            if self.parts { Content::parts(vec![text]) } else { text.into() }
        };
        // As text, with thoughts and calls: what a template makes of those it may leave out.
        let plain = |message: &Message| Message::new(&*message.role, content(message));
        let messages: Vec<Message> = messages.iter().map(plain).collect();
        let chat = Chat { messages: &messages, inputs: &self.inputs };
        // A verdict is no thought: it is read where an answer begins.
        if self.writes { tokenizer.render(chat, true) } else { tokenizer.render_to_answer(chat) }
    }
}

/// The first message whose text a prompt doesn't hold; white space aside, which templates trim,
/// and thoughts and calls, which some leave out.
fn missing<'m>(text: &str, messages: &'m [Message]) -> Option<&'m Message> {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = plain(text);
    messages.iter().find(|message| {
        let utterance = message.utterance();
        !text.contains(&plain(&utterance.text[utterance.said]))
    })
}

/// Says something once.
fn tell(told: &AtomicBool, what: &str) {
    if !told.swap(true, Ordering::Relaxed) {
        tracing::warn!("{what}");
    }
}

/// A conversation whose system message is the beginning of the message behind it.
fn folded(messages: &[Message]) -> Option<Vec<Message>> {
    let [first, second, rest @ ..] = messages else { return None };
    if !matches!(&*first.role, "system" | "developer") {
        return None;
    }
    let content = format!("{}\n\n{}", first.content.as_str(), second.content.as_str());
    let joined = Message::new(&*second.role, content);
    Some([&[joined], rest].concat())
}

/// WildGuard was trained on one request and one answer between marks of its own.
fn frame(instruction: &str, pair: &Pair<'_>, tokenizer: &ChatTokenizer) -> String {
    let bos = &tokenizer.special_tokens().bos;
    let request = match pair.messages {
        [only] => only.utterance().text.into_owned(),
        several => {
            let turns = several.iter().map(|it| format!("{}: {}", it.role, it.utterance().text));
            turns.collect::<Vec<_>>().join("\n")
        }
    };
    let answer = pair.answer;
    format!(
        "{bos}<|user|>\n[INST] {instruction}\n\nHuman user:\n{request}\n\nAI assistant:\n{answer}\n\n---\n\n\
         Answers: [/INST]\n<|assistant|>\n"
    )
}
