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
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

use error::ApiError;
pub use routes::answer;
pub use service::{Counts, Limits, Service};

/// What a reply says, at once or in pieces.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Kept for as long as a request is worked on.
pub type Held = Box<dyn Send>;

/// A reply in JSON.
fn reply(status: StatusCode, json: &Value) -> Response<Body> {
    written(status, json.to_string())
}

/// A reply that takes a while to write, written on a thread of its own.
///
/// # Errors
/// [`ApiError`] if that thread ended at a bug.
async fn rendered(
    service: &Arc<Service>,
    write: impl FnOnce(&Service) -> Value + Send + 'static,
) -> Result<Response<Body>, ApiError> {
    let service = service.clone();
    let writing = tokio::task::spawn_blocking(move || write(&service).to_string());
    let bug = |_| ApiError::internal("the reply couldn't be written: a bug; please report it");
    Ok(written(StatusCode::OK, writing.await.map_err(bug)?))
}

fn written(status: StatusCode, json: String) -> Response<Body> {
    let mut response = Response::new(Full::from(json).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
