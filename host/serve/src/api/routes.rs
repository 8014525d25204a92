//! Which address has what, and who may ask.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{ApiError, unread};
use super::service::{Limits, Service};
use super::{chat, completions, reply, tokens};
use crate::site::{Body, Held, Site, is_local};

/// Behind it stands the name of a model.
const MODEL: &str = "/v1/models/";
/// Bytes of a body that are thrown away beyond those that a body may have.
const THROWN_AWAY: usize = 64 << 20;
/// Bytes of a body from which on requests are read one after the other.
const LARGE: usize = 64 << 10;

/// The reply to a request. `begin` is called once it is there as a whole; what it gives is kept until it is answered.
async fn answer(
    service: Arc<Service>,
    request: Request<Incoming>,
    begin: impl FnOnce() -> Held + Send,
) -> Response<Body> {
    let answered = match stranger(&service, &request) {
        Some(error) => Err(error),
        None => served(&service, request, begin).await,
    };
    answered.unwrap_or_else(|error| {
        service.count_failed(&error);
        error.reply()
    })
}

impl Site for Service {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        begin: impl FnOnce() -> Held + Send,
    ) -> Response<Body> {
        answer(self, request, begin).await
    }

    fn unread(&self, status: StatusCode) -> String {
        let error = unread(status);
        self.count_failed(&error);
        error.json().to_string()
    }
}

/// The addresses that are served.
async fn served(
    service: &Arc<Service>,
    request: Request<Incoming>,
    begin: impl FnOnce() -> Held,
) -> Result<Response<Body>, ApiError> {
    let deadline = Instant::now() + service.limits().time;
    let path = request.uri().path().to_owned();
    let model = path.strip_prefix(MODEL);
    let is_right = match &*path {
        "/health" | "/v1/models" | "/tokenizer_info" => request.method() == Method::GET,
        "/v1/chat/completions" | "/v1/completions" | "/tokenize" | "/detokenize" => {
            request.method() == Method::POST
        }
        _ if model.is_some() => request.method() == Method::GET,
        _ => return Err(ApiError::address(StatusCode::NOT_FOUND)),
    };
    if !is_right {
        return Err(ApiError::address(StatusCode::METHOD_NOT_ALLOWED));
    }
    if request.method() == Method::GET {
        let json = match &*path {
            "/health" => {
                let (running, waiting) = service.engine().load();
                json!({"status": "ok", "running": running, "waiting": waiting})
            }
            "/tokenizer_info" => tokens::info(service),
            _ => service.models(model)?,
        };
        return Ok(reply(StatusCode::OK, &json));
    }
    let body = body(service, request).await?;
    let held = begin();
    let json = match &*path {
        "/v1/chat/completions" => {
            let asked = prepared(service, deadline, body, chat::read).await?;
            return chat::answer(service, asked, deadline, held).await;
        }
        "/v1/completions" => {
            let asked = prepared(service, deadline, body, completions::read).await?;
            return completions::answer(service, asked, deadline, held).await;
        }
        "/tokenize" => prepared(service, deadline, body, tokens::tokenize).await?,
        _ => prepared(service, deadline, body, tokens::detokenize).await?,
    };
    Ok(reply(StatusCode::OK, &json))
}

/// Why a request isn't let in. Whoever has the key may ask; without one those on this machine: no page of a browser,
/// whose requests would carry the page's own name after it was bound to this address.
fn stranger(service: &Service, request: &Request<Incoming>) -> Option<ApiError> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if service.has_key() {
        let given = header(AUTHORIZATION).and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        let is_open = request.uri().path() == "/health";
        return (!is_open && !service.knows(given)).then(ApiError::key);
    }
    let host = header(HOST).or_else(|| request.uri().host());
    (!host.is_some_and(is_local)).then(ApiError::host)
}

/// The body of a request.
async fn body(service: &Service, request: Request<Incoming>) -> Result<Bytes, ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = "send the header `Content-Type: application/json`";
        return Err(ApiError::body(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let Limits { body: most, body_time, .. } = *service.limits();
    let too_large = || {
        let message = format!("the body has more than {most} bytes; send less");
        ApiError::body(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > most as u64) && headers.contains_key(EXPECT) {
        // It waits to be told whether to send it.
        return Err(too_large());
    }
    match timeout(body_time, whole(request.into_body(), most)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(error)) => {
            Err(ApiError::invalid(format!("the body didn't come to its end ({error})")))
        }
        Err(_) => {
            let message = format!("the body didn't come within {} s", body_time.as_secs());
            Err(ApiError::body(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

/// A body; none if it has more than `most` bytes. What is too much is read for a while and thrown away: many clients
/// look for a reply only once they have sent everything.
async fn whole(mut body: Incoming, most: usize) -> hyper::Result<Option<Bytes>> {
    let (mut kept, mut count) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        count += data.len();
        if count <= most {
            kept.extend_from_slice(&data);
        } else {
            kept = BytesMut::new();
        }
        if count > most.saturating_add(THROWN_AWAY) {
            break;
        }
    }
    Ok((count <= most).then(|| kept.freeze()))
}

/// Reads a request on a thread that may wait: templates are rendered by another process. Large ones wait for each other,
/// so that small ones need not.
async fn prepared<T: Send + 'static>(
    service: &Arc<Service>,
    deadline: Instant,
    body: Bytes,
    read: impl FnOnce(&Service, &[u8]) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = async { if body.len() > LARGE { service.turn().await } else { None } };
    let Ok(turn) = timeout_at(deadline, turn).await else { return Err(service.late()) };
    let shared = service.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let read = read(&shared, &body);
        drop(turn);
        read
    });
    match timeout_at(deadline, reading).await {
        Err(_) => Err(service.late()),
        Ok(Err(_)) => {
            Err(ApiError::internal("the request couldn't be read: a bug; please report it"))
        }
        Ok(Ok(read)) => read,
    }
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.8.9.1", "[::1]:8080", "[::1]"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org:80",
            "192.168.0.1",
            "[::2]:1",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
