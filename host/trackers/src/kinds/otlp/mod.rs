//! `[trackers.otlp]`: metrics and a trace to an OpenTelemetry collector, by OTLP over HTTP in its
//! JSON form (opentelemetry.io/docs/specs/otlp, JSON Protobuf Encoding).
//!
//! Written by hand: the crates bring ten others, prost's compiler plugin among them, and have
//! futures-util built with other features, for two messages.

mod config;
mod messages;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use host_data::failure::Result;
use serde_json::Value;

pub use config::OtlpConfig;
use messages::{Resource, Span};

use crate::clock::Clock;
use crate::event::{About, Ending, Event, Status};
use crate::tracker::{Next, Tracker, Trouble};
use crate::web::{Body, Client};

pub struct Otlp {
    client: Client,
    url: String,
    resource: Resource,
    trace: u128,
    /// The span of the whole run, above those of its stages.
    root: u64,
    began: SystemTime,
    /// The stage that goes on.
    stage: Option<(String, SystemTime)>,
}

impl Otlp {
    /// # Errors
    /// A configuration that can't work.
    pub fn new(config: &OtlpConfig, about: &About) -> Result<Self> {
        let random = || getrandom::u64().unwrap_or(1).max(1);
        Ok(Self {
            client: Client::new(&config.address())?,
            url: config.url.trim_end_matches('/').to_owned(),
            resource: Resource::new(about),
            trace: u128::from(random()) << 64 | u128::from(random()),
            root: random(),
            began: SystemTime::now(),
            stage: None,
        })
    }

    fn post(&self, path: &str, body: &Value, clock: &Clock) -> Result<(), Trouble> {
        let url = format!("{}/v1/{path}", self.url);
        let reply = self.client.ask(&url, Body::Json(body), clock)?;
        let rejected = ["rejectedDataPoints", "rejectedSpans"].iter().any(|field| {
            let count = reply.pointer(&format!("/partialSuccess/{field}"));
            // Numbers of 64 bits are texts in this form, but not for everyone.
            count.is_some_and(|count| count.as_str() != Some("0") && count.as_u64() != Some(0))
        });
        if rejected {
            let words = reply.pointer("/partialSuccess/errorMessage").and_then(Value::as_str);
            let words = host_files::text::clean(words.unwrap_or("without a word"), 200);
            return Err(self.client.trouble(&format!("took a part only: {words:?}"), Next::Skip));
        }
        Ok(())
    }

    /// The stage that goes on is over.
    fn close(&mut self, until: SystemTime) -> Option<Span> {
        let (name, from) = self.stage.take()?;
        let id = getrandom::u64().unwrap_or(2).max(1);
        Some(Span { id, parent: Some(self.root), name, from, until, failed: false })
    }
}

impl Tracker for Otlp {
    fn wants_stages(&self) -> bool {
        true
    }

    fn gathers(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn take(&mut self, events: &[Arc<Event>], clock: &Clock) -> Result<(), Trouble> {
        if let Some(body) = self.resource.metrics(events) {
            self.post("metrics", &body, clock)?;
        }
        let (stage, began) = (self.stage.clone(), self.began);
        let mut spans = Vec::new();
        for event in events {
            if let Event::Stage { title, at } = event.as_ref() {
                spans.extend(self.close(*at));
                self.began = self.began.min(*at);
                self.stage = Some((title.clone(), *at));
            }
        }
        if spans.is_empty() {
            return Ok(());
        }
        let body = self.resource.trace(self.trace, &spans);
        let sent = self.post("traces", &body, clock);
        if sent.is_err() {
            // The same events come again.
            (self.stage, self.began) = (stage, began);
        }
        sent
    }

    fn end(&mut self, ending: &Ending, clock: &Clock) -> Result<(), Trouble> {
        let stage = self.stage.clone();
        let failed = ending.status == Status::Failed;
        let last = self.close(ending.at);
        self.stage = stage;
        let whole = Span {
            id: self.root,
            parent: None,
            name: "host train".into(),
            from: self.began,
            until: ending.at,
            failed,
        };
        let spans: Vec<Span> = last.into_iter().chain([whole]).collect();
        self.post("traces", &self.resource.trace(self.trace, &spans), clock)
    }
}
