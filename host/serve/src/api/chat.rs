//! POST /v1/chat/completions

use std::sync::Arc;

use host_data::Request as Conversation;
use host_model::{Chat, Message};
use hyper::Response;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::error::ApiError;
use super::events::{self, Pieces, Wanted};
use super::fields::Fields;
use super::question::{MOST_LIKELIEST, Question, room};
use super::service::{Service, score_count};
use super::usage::Usage;
use super::{Body, Held};
use crate::engine::{Answer, Ask, Delta, Finish};

/// The fields that make a conversation.
const CONVERSATION: [&str; 4] = ["messages", "tools", "documents", "chat_template_kwargs"];

/// A request that can be answered.
pub struct Asked {
    question: Question,
    prompt: Vec<u32>,
    one: Ask,
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
    let scores = match (fields.flag("logprobs")?, fields.count("top_logprobs", 0, MOST_LIKELIEST)?)
    {
        (Some(true), top) => Some(top.unwrap_or(0)),
        (_, None | Some(0)) => None,
        (_, Some(_)) => return Err(ApiError::field("top_logprobs", "needs `logprobs`")),
    };
    let max_tokens = fields.count("max_tokens", 1, usize::MAX)?;
    let max_all_tokens = fields.count("max_completion_tokens", 1, usize::MAX)?;
    let goes_on = goes_on(&mut fields)?;
    let mut conversation = fields.part(&CONVERSATION);
    tool_choice(&mut fields, &mut conversation)?;
    let mut ignored = fields.finish()?;
    let prompt = prompt(service, conversation, goes_on, &mut ignored)?;
    service.count_ignored(ignored);
    // Who limits thought and answer together need not limit the answer.
    let wanted = max_tokens.or(max_all_tokens).unwrap_or(service.limits().answer);
    let max_tokens = room(service, "messages", &prompt, wanted)?;
    let tokens = max_tokens.saturating_mul(question.count);
    let count = score_count("max_tokens", tokens, scores)?;
    let one = Ask {
        max_tokens,
        max_all_tokens,
        max_thinking_tokens: Some(service.limits().thinking),
        scores,
        ..Ask::default()
    };
    Ok(Asked { question, prompt, one, scores: count })
}

/// Whether the answer goes on with the last message.
fn goes_on(fields: &mut Fields) -> Result<bool, ApiError> {
    let goes_on = fields.flag("continue_final_message")?.unwrap_or(false);
    match fields.flag("add_generation_prompt")? {
        Some(true) if goes_on => {
            let problem = "and `continue_final_message` can't both be true";
            Err(ApiError::field("add_generation_prompt", problem))
        }
        Some(false) if !goes_on => {
            let remedy =
                "leave it out, or set `continue_final_message` to go on with the last message";
            Err(ApiError::unsupported("add_generation_prompt", remedy))
        }
        _ => Ok(goes_on),
    }
}

/// Nobody can be made to call a tool here, but a model can be told of tools or not.
fn tool_choice(fields: &mut Fields, conversation: &mut Map<String, Value>) -> Result<(), ApiError> {
    match fields.take("tool_choice") {
        None => Ok(()),
        Some(choice) if choice == "auto" => Ok(()),
        Some(choice) if choice == "none" => {
            conversation.remove("tools");
            Ok(())
        }
        Some(_) => Err(ApiError::unsupported("tool_choice", "give `auto` or `none`")),
    }
}

/// The tokens of a conversation up to the answer.
fn prompt(
    service: &Service,
    conversation: Map<String, Value>,
    goes_on: bool,
    ignored: &mut std::collections::BTreeSet<String>,
) -> Result<Vec<u32>, ApiError> {
    if !matches!(conversation.get("messages"), Some(Value::Array(list)) if !list.is_empty()) {
        return Err(ApiError::field("messages", "must be a list with at least one message"));
    }
    let tokenizer = &service.engine().model().tokenizer;
    let read = Conversation::read(conversation, tokenizer)?;
    ignored.extend(read.ignored);
    let mut messages: Vec<Message> = read.messages;
    let is_answered = messages.last().is_some_and(|last| last.role == "assistant");
    if is_answered != goes_on {
        let problem = if goes_on {
            "must end with a message of the assistant, which `continue_final_message` goes on with"
        } else {
            "ends with a message of the assistant; ask something, or set `continue_final_message` to go on with it"
        };
        return Err(ApiError::field("messages", problem));
    }
    let begun = messages.pop_if(|_| goes_on);
    let mut tokens = tokenizer.encode_prompt(Chat { messages: &messages, inputs: &read.inputs })?;
    if let Some(begun) = begun {
        if !begun.tool_calls.is_empty() || begun.reasoning.is_some() {
            let problem = "can't be gone on with: it has more than a text";
            return Err(ApiError::field(&format!("messages[{}]", messages.len()), problem));
        }
        tokens.extend(tokenizer.encode(&begun.content)?);
    }
    Ok(tokens)
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
    let Asked { question, prompt, one, scores } = asked;
    let held: Held = Box::new((held, service.hold(scores, deadline).await?));
    let has_scores = one.scores.is_some();
    let usage = Usage { prompt: prompt.len(), ..Usage::default() };
    let asks = question.asks(service, vec![prompt], &one);
    if question.stream {
        let head = service.head("chatcmpl", "chat.completion.chunk");
        let pieces = ChatPieces { head, has_scores };
        let wanted = Wanted { count: asks.len(), usage, include_usage: question.include_usage };
        let events = service.engine().ask(asks)?;
        return Ok(events::reply(service.clone(), pieces, events, wanted, (deadline, held)));
    }
    let head = service.head("chatcmpl", "chat.completion");
    let choice = move |service: &Service, index: usize, answer: Answer| {
        choice(service, index, answer, has_scores)
    };
    super::whole(service, head, asks, usage, deadline, choice).await
}

fn choice(service: &Service, index: usize, answer: Answer, has_scores: bool) -> Value {
    let mut message = json!({"role": "assistant", "content": answer.text, "refusal": null});
    if let Some(thought) = answer.thought {
        message["reasoning_content"] = thought.into();
    }
    json!({
        "index": index,
        "message": message,
        "logprobs": log_probs(service, &answer.scores, has_scores),
        "finish_reason": finish_reason(answer.finish),
    })
}

fn log_probs(service: &Service, scores: &[crate::engine::Scored], has_scores: bool) -> Value {
    let tokenizer = &service.engine().model().tokenizer;
    if has_scores { service.texts().chat(tokenizer, scores) } else { Value::Null }
}

/// As the API has it.
pub fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

struct ChatPieces {
    head: Value,
    has_scores: bool,
}

impl Pieces for ChatPieces {
    fn head(&self) -> &Value {
        &self.head
    }

    fn begin(&self, index: usize) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": "", "refusal": null});
        Some(json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null}))
    }

    fn piece(&mut self, service: &Service, index: usize, delta: Delta) -> Vec<Value> {
        let choice = |delta: Value, log_probs: Value| json!({"index": index, "delta": delta, "logprobs": log_probs, "finish_reason": null});
        let mut choices = Vec::new();
        if !delta.thought.is_empty() {
            choices.push(choice(json!({"reasoning_content": delta.thought}), Value::Null));
        }
        if !delta.answer.is_empty() || !delta.scores.is_empty() {
            let has_scores = self.has_scores && !delta.scores.is_empty();
            let log_probs = log_probs(service, &delta.scores, has_scores);
            choices.push(choice(json!({"content": delta.answer}), log_probs));
        }
        choices
    }

    fn end(&self, index: usize, finish: Finish) -> Value {
        let finish_reason = finish_reason(finish);
        json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": finish_reason})
    }
}
