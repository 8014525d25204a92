//! The API: what is asked, checked and answered.

mod chat;
mod completions;
mod error;
mod events;
mod fields;
mod log_probs;
mod question;
mod routes;
mod service;
mod tokens;
mod usage;

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

pub use routes::answer;
pub use service::{Counts, Limits, Service};

/// What a reply says, at once or in pieces.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A reply in JSON.
fn reply(status: StatusCode, json: &Value) -> Response<Body> {
    let mut response = Response::new(Full::from(json.to_string()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
