//! POST /v1/completions

use std::sync::Arc;

use host_model::ChatTokenizer;
use hyper::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::chat::finish_reason;
use super::error::ApiError;
use super::events::{self, Pieces, Wanted};
use super::fields::Fields;
use super::question::{MOST_LIKELIEST, Question, room};
use super::service::{Service, score_count};
use super::usage::Usage;
use super::{Body, Held};
use crate::engine::{Answer, Ask, Delta, Finish, Scored};

/// Tokens of an answer of which nobody says how many it may have, as the API has it.
const DEFAULT_TOKENS: usize = 16;

/// A text to go on with.
struct Prompt {
    tokens: Vec<u32>,
    /// As it was given, or as its tokens are written.
    text: String,
}

/// A request that can be answered.
pub struct Asked {
    question: Question,
    prompts: Vec<Prompt>,
    one: Ask,
    /// Whether the prompt stands before the answer.
    echo: bool,
    /// Log-probabilities that the reply may have.
    scores: usize,
}

/// Reads a request.
///
/// # Errors
/// [`ApiError`] for what is wrong with it, or isn't served.
pub fn read(service: &Service, body: &[u8]) -> Result<Asked, ApiError> {
    let mut fields = Fields::read(body)?;
    let question = Question::read(&mut fields, service)?;
    let scores = fields.count("logprobs", 0, MOST_LIKELIEST)?;
    let echo = fields.flag("echo")?.unwrap_or(false);
    let least = usize::from(!echo);
    let max_tokens = fields.count("max_tokens", least, usize::MAX)?.unwrap_or(DEFAULT_TOKENS);
    if echo && question.stream {
        return Err(ApiError::field("echo", "can't come in pieces; leave out `stream`"));
    }
    let surrounded = fields.flag("add_special_tokens")?.unwrap_or(true);
    let given = fields.take("prompt");
    service.count_ignored(fields.finish()?);
    let tokenizer = &service.engine().model().tokenizer;
    let prompts = prompts(service, tokenizer, given, surrounded)?;
    if prompts.len() * question.count > service.limits().choices {
        let most = service.limits().choices;
        return Err(ApiError::field(
            "prompt",
            format!("asks for more than {most} answers; ask for fewer at a time"),
        ));
    }
    let mut tokens = 0;
    for prompt in &prompts {
        tokens += room(service, "prompt", &prompt.tokens, max_tokens)?;
        tokens += if echo { prompt.tokens.len() } else { 0 };
    }
    let count = score_count("prompt", tokens.saturating_mul(question.count), scores)?;
    let one = Ask {
        max_tokens,
        scores,
        score_prompt: echo && (scores.is_some() || max_tokens == 0),
        score_stop: scores.is_some(),
        ..Ask::default()
    };
    Ok(Asked { question, prompts, one, echo, scores: count })
}

/// One text, a list of texts, the ids of one, or a list of such lists.
fn prompts(
    service: &Service,
    tokenizer: &ChatTokenizer,
    given: Option<Value>,
    surrounded: bool,
) -> Result<Vec<Prompt>, ApiError> {
    let expected = || {
        ApiError::field(
            "prompt",
            "must be a text, a list of texts, a list of token ids, or a list of such lists",
        )
    };
    let of_text = |text: &str| {
        let tokens =
            if surrounded { tokenizer.encode_text(text)? } else { tokenizer.encode(text)? };
        Ok(Prompt { tokens, text: text.to_owned() })
    };
    let of_ids = |ids: &[Value]| {
        let tokens = service.token_ids("prompt", ids)?;
        let text = tokenizer.decode_with_special(&tokens)?;
        Ok(Prompt { tokens, text })
    };
    match given.ok_or_else(expected)? {
        Value::String(text) => Ok(vec![of_text(&text)?]),
        Value::Array(list) if list.is_empty() => Err(expected()),
        Value::Array(list) if list.iter().all(Value::is_number) => Ok(vec![of_ids(&list)?]),
        Value::Array(list) => {
            let most = service.limits().choices;
            if list.len() > most {
                return Err(ApiError::field(
                    "prompt",
                    format!("has more than {most} texts; ask for fewer at a time"),
                ));
            }
            let read = |one: &Value| match one {
                Value::String(text) => of_text(text),
                Value::Array(ids) => of_ids(ids),
                _ => Err(expected()),
            };
            list.iter().map(read).collect()
        }
        _ => Err(expected()),
    }
}

/// Answers a request.
///
/// # Errors
/// [`ApiError`] if there is no answer.
pub async fn answer(
    service: &Arc<Service>,
    asked: Asked,
    deadline: Instant,
    held: Held,
) -> Result<Response<Body>, ApiError> {
    let Asked { question, prompts, one, echo, scores } = asked;
    let held: Held = Box::new((held, service.hold(scores, deadline).await?));
    let prompt_tokens = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    let usage = Usage { prompt: prompt_tokens, ..Usage::default() };
    let tokens = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
    let asks = question.asks(service, tokens, &one);
    let (head, shown) = (service.head("cmpl", "text_completion"), one.scores);
    if question.stream {
        let count = asks.len();
        let pieces = TextPieces { head, shown, offsets: vec![0; count] };
        let wanted = Wanted { count, usage, include_usage: question.include_usage };
        let events = service.engine().ask(asks)?;
        return Ok(events::reply(service.clone(), pieces, events, wanted, (deadline, held)));
    }
    let choice = move |service: &Service, index: usize, answer: Answer| {
        let prompt = echo.then(|| &prompts[index / question.count]);
        choice(service, index, prompt, answer, shown)
    };
    super::whole(service, head, asks, usage, deadline, choice).await
}

fn choice(
    service: &Service,
    index: usize,
    prompt: Option<&Prompt>,
    answer: Answer,
    shown: Option<usize>,
) -> Value {
    let mut tokens: Vec<(u32, Option<Scored>)> = Vec::new();
    if let Some(prompt) = prompt {
        tokens.extend(prompt.tokens.iter().copied().zip(answer.prompt_scores));
    }
    tokens.extend(answer.scores.into_iter().map(|score| (score.id, Some(score))));
    let before = prompt.map_or("", |prompt| &prompt.text);
    json!({
        "index": index,
        "text": format!("{before}{}", answer.text),
        "logprobs": log_probs(service, &tokens, shown, 0),
        "finish_reason": finish_reason(answer.finish),
    })
}

fn log_probs(
    service: &Service,
    tokens: &[(u32, Option<Scored>)],
    shown: Option<usize>,
    offset: usize,
) -> Value {
    let tokenizer = &service.engine().model().tokenizer;
    let of = |shown| service.texts().completion(tokenizer, tokens, shown, offset);
    shown.map_or(Value::Null, of)
}

struct TextPieces {
    head: Value,
    shown: Option<usize>,
    /// Characters that each answer has so far.
    offsets: Vec<usize>,
}

impl Pieces for TextPieces {
    fn head(&self) -> &Value {
        &self.head
    }

    fn begin(&self, _index: usize) -> Option<Value> {
        None
    }

    fn piece(&mut self, service: &Service, index: usize, delta: Delta) -> Vec<Value> {
        let scores = delta.scores.into_iter().map(|score| (score.id, Some(score)));
        let tokens: Vec<(u32, Option<Scored>)> = scores.collect();
        let log_probs = log_probs(service, &tokens, self.shown, self.offsets[index]);
        self.offsets[index] += delta.answer.chars().count();
        vec![
            json!({"index": index, "text": delta.answer, "logprobs": log_probs, "finish_reason": null}),
        ]
    }

    fn end(&self, index: usize, finish: Finish) -> Value {
        let finish_reason = finish_reason(finish);
        json!({"index": index, "text": "", "logprobs": null, "finish_reason": finish_reason})
    }
}
