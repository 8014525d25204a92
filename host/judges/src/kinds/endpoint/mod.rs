//! A judge behind any endpoint that speaks OpenAI's chat completions: a service, or a
//! server of one's own (vLLM, llama.cpp, Ollama, TGI).
//!
//! The system message is the [rubric](RUBRIC), the user message the conversation as JSON,
//! so that nothing in it can pass for an instruction of ours. What can't be read as one
//! score is none; what does not answer, or answers with an error, is asked again for a
//! while, and then failed.

mod client;
mod complaint;
mod config;
mod reply;
mod verdict;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use client::{Client, Trouble};
pub use config::{Consent, EndpointConfig, RubricRole};
use host_contract::{Judgement, JudgementStatus};
use host_data::Message;
use host_data::failure::{Failure as Error, Result};
use serde_json::{Map, Value, json};

use crate::{Judge, Pair, unknown};

/// Fields of a request that are ours, and what a service that refuses one may take instead.
const OURS: [(&str, &str); 2] = [
    ("max_tokens", ", and max_completion_tokens = N in its place if the server wants that"),
    ("temperature", ""),
];

/// What the judge is told to do.
const RUBRIC: &str = include_str!("rubric.md");

/// How long to wait for an answer before looking at `stop`.
const GLANCE: Duration = Duration::from_millis(100);

pub struct Endpoint {
    client: Arc<Client>,
    /// The body of a request, without its messages.
    request: Map<String, Value>,
    rubric: String,
    role: RubricRole,
    concurrency: usize,
    /// What was wrong the first time.
    problem: OnceLock<String>,
}

/// The place of a pair, and what became of its request.
type Answer = (usize, Result<String, Trouble>);

impl Endpoint {
    pub fn new(name: &str, config: &EndpointConfig) -> Result<Self> {
        // Before a file or a variable is read.
        config.need_consent(name)?;
        let rubric = match &config.rubric {
            Some(path) => host_files::capped::read_text(path, 1 << 20)
                .map_err(|source| Error::read(path, source))?,
            None => RUBRIC.to_owned(),
        };
        let mut request = Map::new();
        request.insert("model".into(), config.model.clone().into());
        request.insert("temperature".into(), 0.into());
        request.insert("max_tokens".into(), config.max_tokens.into());
        for (key, value) in &config.request {
            let value = serde_json::to_value(value);
            let value = value.map_err(|error| {
                let key = format!("judges.{name}.endpoint.request.{key}");
                Error::config(key, error.to_string())
            })?;
            if value == Value::Bool(false) && OURS.iter().any(|(ours, _)| ours == key) {
                request.remove(key);
            } else {
                request.insert(key.clone(), value);
            }
        }
        Ok(Self {
            client: Arc::new(Client::new(name, config)?),
            request,
            rubric,
            role: config.rubric_role,
            concurrency: config.concurrency,
            problem: OnceLock::new(),
        })
    }

    fn body(&self, pair: &Pair<'_>) -> String {
        let mut body = self.request.clone();
        let asked = json!({"conversation": pair.messages, "answer": pair.answer}).to_string();
        let messages = match self.role {
            RubricRole::System => vec![Message::new("system", &self.rubric), Message::user(asked)],
            RubricRole::User => {
                vec![Message::user(format!("{}\n\n{asked}", self.rubric.trim_end()))]
            }
        };
        body.insert("messages".into(), json!(messages));
        Value::Object(body).to_string()
    }

    /// Asks in threads of their own, which end by themselves when no one listens any
    /// more: a request that hangs keeps no one from leaving.
    fn start(&self, pairs: &[Pair<'_>]) -> Receiver<Answer> {
        let bodies = pairs.iter().map(|pair| self.body(pair)).enumerate();
        let queue: Vec<(usize, String)> = bodies.rev().collect();
        let threads = self.concurrency.min(queue.len());
        let queue = Arc::new(Mutex::new(queue));
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads {
            let (queue, sender) = (queue.clone(), sender.clone());
            let client = self.client.clone();
            std::thread::spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                while let Some((index, body)) = next() {
                    let answer = client.ask(&body);
                    if sender.send((index, answer)).is_err() {
                        return;
                    }
                }
            });
        }
        receiver
    }

    fn judgement(&self, answer: Result<String, Trouble>) -> Judgement {
        let trouble = match answer.map(|text| reply::score(&text, self.room())) {
            Ok(Ok(score)) => {
                return Judgement { status: JudgementStatus::Scored, score };
            }
            Ok(Err(problem)) => Trouble::unreadable(problem),
            Err(trouble) => trouble,
        };
        self.problem.get_or_init(|| self.with_advice(&trouble));
        unknown(trouble.status)
    }

    /// The field that limits the tokens of an answer.
    fn room(&self) -> &'static str {
        let known = ["max_completion_tokens", "max_tokens"];
        known
            .into_iter()
            .find(|field| self.request.contains_key(*field))
            .unwrap_or("the server's limit of tokens")
    }

    /// What is wrong, and which field of ours to leave out if that is what the server names.
    fn with_advice(&self, trouble: &Trouble) -> String {
        let refused = |(field, _): &&(&str, &str)| {
            trouble.refused && self.request.contains_key(*field) && trouble.problem.contains(field)
        };
        let name = self.client.name();
        if trouble.refused
            && self.role == RubricRole::System
            && trouble.problem.to_lowercase().contains("system")
        {
            return format!(
                "{}; if the model takes no system message set judges.{name}.endpoint.rubric_role = \"user\"",
                trouble.problem
            );
        }
        match OURS.iter().find(refused) {
            Some((field, instead)) => format!(
                "{}; to leave the field out set judges.{name}.endpoint.request.{field} = false{instead}",
                trouble.problem
            ),
            None => trouble.problem.clone(),
        }
    }
}

impl Judge for Endpoint {
    fn judge(&self, pairs: &[Pair<'_>], stop: &AtomicBool) -> Result<Vec<Judgement>> {
        let answers = self.start(pairs);
        let mut judgements = vec![unknown(JudgementStatus::Failed); pairs.len()];
        loop {
            match answers.recv_timeout(GLANCE) {
                Ok((index, answer)) => judgements[index] = self.judgement(answer),
                Err(RecvTimeoutError::Disconnected) => return Ok(judgements),
                Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => {
                    return Err(Error::Interrupted);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn identity(&self) -> String {
        let asked = json!([self.client.url(), self.request, self.rubric]);
        // As it always was for the usual role: scores are kept under it.
        match self.role {
            RubricRole::System => format!("endpoint {asked}"),
            RubricRole::User => format!("endpoint user {asked}"),
        }
    }

    fn problem(&self) -> Option<String> {
        self.problem.get().cloned()
    }

    fn may_recover(&self) -> bool {
        true
    }

    /// Whole scores.
    fn is_fine(&self) -> bool {
        false
    }

    fn remedy(&self, name: &str) -> String {
        format!("start the server, or mend [judges.{name}.endpoint]")
    }
}

#[cfg(test)]
mod consent_tests;
#[cfg(test)]
mod tests;
