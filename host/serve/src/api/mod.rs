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

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use crate::engine::{Answer, Ask};
use crate::site::{Body, Held};
use error::ApiError;
pub use service::{Counts, Limits, Service};
use usage::Usage;

/// A reply in JSON.
fn reply(status: StatusCode, json: &Value) -> Response<Body> {
    written(status, json.to_string())
}

/// Answers as one reply: `head` with a choice for each ask. It takes a while to write, and is written on a thread of its
/// own.
///
/// # Errors
/// [`ApiError`] if there is no answer, or that thread ended at a bug.
async fn whole(
    service: &Arc<Service>,
    mut head: Value,
    asks: Vec<Ask>,
    mut usage: Usage,
    deadline: Instant,
    choice: impl Fn(&Service, usize, Answer) -> Value + Send + 'static,
) -> Result<Response<Body>, ApiError> {
    let answers = service.answers(asks, deadline).await?;
    answers.iter().for_each(|answer| usage.add(answer));
    let (writer, total) = (service.clone(), usage.json());
    let writing = tokio::task::spawn_blocking(move || {
        let choices = answers.into_iter().enumerate();
        head["choices"] = choices.map(|(index, answer)| choice(&writer, index, answer)).collect();
        head["usage"] = total;
        head.to_string()
    });
    let bug = |_| ApiError::internal("the reply couldn't be written: a bug; please report it");
    let json = writing.await.map_err(bug)?;
    service.count_answered(&usage);
    Ok(written(StatusCode::OK, json))
}

fn written(status: StatusCode, json: String) -> Response<Body> {
    let mut response = Response::new(Full::from(json).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
