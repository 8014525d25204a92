//! Answers in pieces, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::service::Service;
use super::usage::Usage;
use super::{Body, Held};
use crate::engine::{Delta, Event, Finish};

/// What a kind of completion writes.
pub trait Pieces: Send + 'static {
    /// What all events of a reply have, `choices` apart.
    fn head(&self) -> &Value;

    /// The choice that begins an answer; none where nothing does.
    fn begin(&self, index: usize) -> Option<Value>;

    /// The choices that tell a piece.
    fn piece(&mut self, service: &Service, index: usize, delta: Delta) -> Vec<Value>;

    /// The choice that ends an answer.
    fn end(&self, index: usize, finish: Finish) -> Value;
}

/// What is asked for.
pub struct Wanted {
    /// Answers.
    pub count: usize,
    /// The tokens of the prompts.
    pub usage: Usage,
    /// Whether the last event tells how many tokens it was.
    pub include_usage: bool,
}

/// A reply that is being written.
struct Writer<P> {
    service: Arc<Service>,
    pieces: P,
    events: UnboundedReceiver<(usize, Event)>,
    deadline: Instant,
    /// Answers that have not begun and not ended.
    begun: Vec<bool>,
    left: usize,
    usage: Usage,
    include_usage: bool,
    /// None once the reply is over.
    held: Option<Held>,
}

/// A reply whose events come as the answers do. Dropping it takes the question back; `held` is kept until it is over.
pub fn reply<P: Pieces>(
    service: Arc<Service>,
    pieces: P,
    events: UnboundedReceiver<(usize, Event)>,
    wanted: Wanted,
    (deadline, held): (Instant, Held),
) -> Response<Body> {
    let Wanted { count, usage, include_usage } = wanted;
    let writer = Writer {
        service,
        pieces,
        events,
        deadline,
        begun: vec![false; count],
        left: count,
        usage,
        include_usage,
        held: Some(held),
    };
    let events = futures_util::stream::unfold(writer, |mut writer| async move {
        let bytes = writer.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), writer))
    });
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

impl<P: Pieces> Writer<P> {
    /// The next events, as bytes.
    async fn next(&mut self) -> Option<Bytes> {
        while self.held.is_some() {
            let event = timeout_at(self.deadline, self.events.recv()).await;
            let mut out = String::new();
            match event {
                Err(_) => self.fail(&mut out, &self.service.late()),
                Ok(None) => self.fail(&mut out, &ApiError::gone()),
                Ok(Some((_, Event::Failed(failure)))) => self.fail(&mut out, &failure.into()),
                Ok(Some((index, Event::Piece(delta)))) => self.piece(&mut out, index, delta),
                Ok(Some((index, Event::Done(mut answer)))) => {
                    let rest = std::mem::take(&mut answer.rest);
                    self.piece(&mut out, index, rest);
                    let end = self.pieces.end(index, answer.finish);
                    self.choice(&mut out, end);
                    self.usage.add(&answer);
                    self.left -= 1;
                    if self.left == 0 {
                        self.finish(&mut out);
                    }
                }
            }
            if !out.is_empty() {
                return Some(out.into());
            }
        }
        None
    }

    fn piece(&mut self, out: &mut String, index: usize, delta: Delta) {
        if !std::mem::replace(&mut self.begun[index], true)
            && let Some(begin) = self.pieces.begin(index)
        {
            self.choice(out, begin);
        }
        if delta != Delta::default() {
            for choice in self.pieces.piece(&self.service, index, delta) {
                self.choice(out, choice);
            }
        }
    }

    fn choice(&self, out: &mut String, choice: Value) {
        let mut event = self.pieces.head().clone();
        event["choices"] = json!([choice]);
        if self.include_usage {
            event["usage"] = Value::Null;
        }
        write(out, &event.to_string());
    }

    fn finish(&mut self, out: &mut String) {
        if self.include_usage {
            let mut event = self.pieces.head().clone();
            event["choices"] = json!([]);
            event["usage"] = self.usage.json();
            write(out, &event.to_string());
        }
        write(out, "[DONE]");
        self.service.count_answered(&self.usage);
        self.held = None;
    }

    fn fail(&mut self, out: &mut String, error: &ApiError) {
        write(out, &error.json().to_string());
        self.service.count_failed(error);
        self.held = None;
    }
}

/// JSON has no line breaks, so an event is one line of data.
fn write(out: &mut String, data: &str) {
    out.push_str("data: ");
    out.push_str(data);
    out.push_str("\n\n");
}
