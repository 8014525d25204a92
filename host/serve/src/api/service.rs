//! What all requests share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host_files::text;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::fields::Fields;
use super::log_probs::TokenTexts;
use super::usage::Usage;
use crate::engine::{Answer, Ask, Engine, Event};

/// Names of unknown fields that are told and counted.
const MOST_UNKNOWN: usize = 100;
/// Log-probabilities that one request may have, and that are held for all requests together. In JSON one takes some
/// hundred bytes.
const MOST_SCORES: (usize, usize) = (1 << 19, 1 << 21);
/// Bytes of the key of a server.
const MOST_KEY: usize = 4096;

/// What a request may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// How long a body may take to come.
    pub body_time: Duration,
    /// How long an answer may take, waiting included.
    pub time: Duration,
    /// Answers of one request.
    pub choices: usize,
    /// Tokens of an answer where the request doesn't say.
    pub answer: usize,
    /// Tokens of a thought.
    pub thinking: usize,
}

/// A model that answers requests.
pub struct Service {
    engine: Engine,
    name: String,
    limits: Limits,
    key: Option<String>,
    seed: u64,
    /// Requests and answers with draws of their own, so far.
    requests: AtomicU64,
    drawn: AtomicU64,
    began: u64,
    texts: TokenTexts,
    /// Log-probabilities that may be held.
    scores: Arc<Semaphore>,
    /// Of large requests one is read at a time.
    turn: Arc<Semaphore>,
    counts: Mutex<Counts>,
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

/// What has become of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were answered to the end.
    pub answered: u64,
    /// Requests that were refused or failed, by status.
    pub failed: BTreeMap<u16, u64>,
    /// Tokens of prompts and answers.
    pub tokens: (u64, u64),
    /// Fields that nobody reads, with the number of requests that had them.
    pub ignored: BTreeMap<String, u64>,
}

impl Service {
    /// Serves the model of an engine as `name`; `tell` tells a person one line.
    pub fn new(
        engine: Engine,
        name: String,
        limits: Limits,
        key: Option<String>,
        seed: u64,
        tell: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        Self {
            engine,
            name,
            limits,
            key,
            seed,
            requests: AtomicU64::new(0),
            drawn: AtomicU64::new(0),
            began: now(),
            texts: TokenTexts::default(),
            scores: Arc::new(Semaphore::new(MOST_SCORES.1)),
            turn: Arc::new(Semaphore::new(1)),
            counts: Mutex::default(),
            tell,
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn texts(&self) -> &TokenTexts {
        &self.texts
    }

    /// Seed and stream of an answer that is drawn and has no seed: apart from the streams of seeds that clients give.
    pub fn next_draws(&self) -> (u64, u64) {
        (self.seed, (1 << 63) | self.drawn.fetch_add(1, Ordering::Relaxed))
    }

    /// What all replies to a request have.
    pub fn head(&self, prefix: &str, object: &str) -> Value {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        json!({
            "id": format!("{prefix}-{:x}-{number:x}", self.began),
            "object": object,
            "created": now(),
            "model": self.name,
            "system_fingerprint": self.fingerprint(),
            "choices": [],
        })
    }

    /// Names the weights.
    fn fingerprint(&self) -> String {
        format!("host-{:.12}", self.engine.model().digest)
    }

    /// Takes the name of the model.
    ///
    /// # Errors
    /// [`ApiError`] for another one.
    pub fn check_model(&self, fields: &mut Fields) -> Result<(), ApiError> {
        match fields.take("model") {
            None => Ok(()),
            Some(name) if name == self.name => Ok(()),
            Some(name) => {
                let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
                Err(ApiError::model(&name, &self.name))
            }
        }
    }

    /// Token ids that the model knows.
    ///
    /// # Errors
    /// [`ApiError`] that names the field, for anything else.
    pub fn token_ids(&self, param: &str, ids: &[Value]) -> Result<Vec<u32>, ApiError> {
        let rows = self.engine.model().config.vocab_size as u64;
        let known = |id: &Value| {
            let id = id.as_u64().filter(|id| *id < rows)?;
            u32::try_from(id).ok()
        };
        let tokens: Option<Vec<u32>> = ids.iter().map(known).collect();
        let problem = || format!("has an id that isn't a number below {rows}");
        tokens.ok_or_else(|| ApiError::field(param, problem()))
    }

    /// The list of models, or what it has of one name.
    ///
    /// # Errors
    /// [`ApiError`] for another name than the model's.
    pub fn models(&self, name: Option<&str>) -> Result<Value, ApiError> {
        let model = json!({
            "id": self.name,
            "object": "model",
            "created": self.began,
            "owned_by": "host",
            "max_model_len": self.engine.model().config.max_position,
        });
        match name {
            None => Ok(json!({"object": "list", "data": [model]})),
            Some(name) if name == self.name => Ok(model),
            Some(name) => Err(ApiError::model(name, &self.name)),
        }
    }

    /// Waits until so many log-probabilities can be held.
    ///
    /// # Errors
    /// [`ApiError`] if it takes too long.
    pub async fn hold(
        &self,
        scores: usize,
        deadline: Instant,
    ) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        let count = u32::try_from(scores).unwrap_or(u32::MAX);
        let held = self.scores.clone().acquire_many_owned(count);
        timeout_at(deadline, held).await.map(Result::ok).map_err(|_| self.late())
    }

    /// Waits until it is a large request's turn.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().acquire_owned().await.ok()
    }

    pub fn late(&self) -> ApiError {
        ApiError::late(self.limits.time.as_secs())
    }

    /// Counts what nobody reads of a request, and tells each name once.
    pub fn count_ignored(&self, names: BTreeSet<String>) {
        let mut new = Vec::new();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            let name = text::name(&name);
            let is_full = counts.ignored.len() >= MOST_UNKNOWN;
            match counts.ignored.get_mut(&name) {
                Some(count) => *count += 1,
                None if is_full => *counts.ignored.entry("(others)".into()).or_default() += 1,
                None => {
                    counts.ignored.insert(name.clone(), 1);
                    new.push(name);
                }
            }
        }
        drop(counts);
        for name in new {
            (self.tell)(&format!("requests have `{name}`, which isn't read; told once"));
        }
    }

    pub fn count_answered(&self, usage: &Usage) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.answered += 1;
        counts.tokens.0 += usage.prompt as u64;
        counts.tokens.1 += usage.generated as u64;
        tracing::info!("answered: {} prompt tokens, {} generated", usage.prompt, usage.generated);
    }

    pub fn count_failed(&self, error: &ApiError) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.failed.entry(error.status.as_u16()).or_default() += 1;
        tracing::info!("{}: {}", error.status, error.message);
    }

    /// What has become of requests so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers that come as a whole, in the order of the asks.
    pub async fn answers(
        &self,
        asks: Vec<Ask>,
        deadline: Instant,
    ) -> Result<Vec<Answer>, ApiError> {
        let count = asks.len();
        let mut events: UnboundedReceiver<(usize, Event)> = self.engine.ask(asks)?;
        let mut answers: Vec<Option<Answer>> = vec![None; count];
        let mut left = count;
        while left > 0 {
            match timeout_at(deadline, events.recv()).await {
                Err(_) => return Err(self.late()),
                Ok(None) => return Err(ApiError::gone()),
                Ok(Some((_, Event::Piece(_)))) => {}
                Ok(Some((_, Event::Failed(failure)))) => return Err(failure.into()),
                Ok(Some((index, Event::Done(answer)))) => {
                    answers[index] = Some(*answer);
                    left -= 1;
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Whether clients need a key.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Whether a key is the server's, in a time that doesn't depend on where they differ.
    pub fn knows(&self, given: Option<&str>) -> bool {
        let Some(key) = &self.key else { return true };
        given.is_some_and(|given| {
            given.len() <= MOST_KEY && bool::from(given.as_bytes().ct_eq(key.as_bytes()))
        })
    }
}

/// Log-probabilities of a request: of so many tokens, with so many likeliest ones each.
///
/// # Errors
/// [`ApiError`] if they are more than a reply can have.
pub fn score_count(param: &str, tokens: usize, top: Option<usize>) -> Result<usize, ApiError> {
    let count = top.map_or(0, |top| tokens.saturating_mul(top + 1));
    let most = MOST_SCORES.0;
    if count <= most {
        return Ok(count);
    }
    let problem = format!(
        "asks for up to {count} log-probabilities, and a reply has {most}; ask for fewer at a time"
    );
    Err(ApiError::field(param, problem))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
