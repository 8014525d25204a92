//! Which address has what, and who may ask.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::ApiError;
use super::service::{Limits, Service};
use super::{Body, chat, completions, reply, tokens};

/// The reply to a request.
pub async fn answer(service: Arc<Service>, request: Request<Incoming>) -> Response<Body> {
    let answered = match stranger(&service, &request) {
        Some(error) => Err(error),
        None => served(&service, request).await,
    };
    answered.unwrap_or_else(|error| {
        service.count_failed(&error);
        error.reply()
    })
}

/// The addresses that are served.
async fn served(
    service: &Arc<Service>,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let deadline = Instant::now() + service.limits().time;
    let path = request.uri().path().to_owned();
    let is_right = match &*path {
        "/health" | "/v1/models" | "/tokenizer_info" => request.method() == Method::GET,
        "/v1/chat/completions" | "/v1/completions" | "/tokenize" | "/detokenize" => {
            request.method() == Method::POST
        }
        _ => return Err(ApiError::address(StatusCode::NOT_FOUND)),
    };
    if !is_right {
        return Err(ApiError::address(StatusCode::METHOD_NOT_ALLOWED));
    }
    let json = match &*path {
        "/health" => {
            let (running, waiting) = service.engine().load();
            json!({"status": "ok", "running": running, "waiting": waiting})
        }
        "/v1/models" => json!({"object": "list", "data": [service.listed()]}),
        "/tokenizer_info" => tokens::info(service),
        "/v1/chat/completions" => {
            let body = body(service, request).await?;
            let asked = prepared(service, deadline, move |it| chat::read(it, &body)).await?;
            return chat::answer(service, asked, deadline).await;
        }
        "/v1/completions" => {
            let body = body(service, request).await?;
            let asked = prepared(service, deadline, move |it| completions::read(it, &body)).await?;
            return completions::answer(service, asked, deadline).await;
        }
        "/tokenize" => {
            let body = body(service, request).await?;
            prepared(service, deadline, move |it| tokens::tokenize(it, &body)).await?
        }
        _ => {
            let body = body(service, request).await?;
            prepared(service, deadline, move |it| tokens::detokenize(it, &body)).await?
        }
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

/// Whether a host header names this machine.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = |address: std::net::IpAddr| address.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
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
    let whole = Limited::new(request.into_body(), most).collect();
    match timeout(body_time, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body has more than {most} bytes; send less");
            Err(ApiError::body(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Ok(Err(error)) => {
            Err(ApiError::invalid(format!("the body didn't come to its end ({error})")))
        }
        Err(_) => {
            let message = format!("the body didn't come within {} s", body_time.as_secs());
            Err(ApiError::body(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

/// Reads a request on a thread that may wait: templates are rendered by another process.
async fn prepared<T: Send + 'static>(
    service: &Arc<Service>,
    deadline: Instant,
    read: impl FnOnce(&Service) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let shared = service.clone();
    let reading = tokio::task::spawn_blocking(move || read(&shared));
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
