//! Errors in the form that clients of the API know.

use host_data::Error as DataError;
use hyper::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::Body;
use crate::engine::{Failure, Full};

/// What a client is told instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Status of the reply.
    pub status: StatusCode,
    /// One line: what is wrong, and what to do.
    pub message: String,
    /// The field of the request.
    pub param: Option<String>,
    /// What programs look at.
    pub code: Option<&'static str>,
}

/// Seconds after which a client may ask again where all places are taken.
const RETRY_SECONDS: &str = "1";

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    /// A request that can't be read or served.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A field of it that can't.
    pub fn field(param: &str, message: impl AsRef<str>) -> Self {
        let message = format!("`{param}` {}", message.as_ref());
        Self { param: Some(param.to_owned()), ..Self::invalid(message) }
    }

    /// A field that means something and that this server doesn't have.
    pub fn unsupported(param: &str, remedy: &str) -> Self {
        let message = format!("isn't served; {remedy}");
        Self { code: Some("unsupported_parameter"), ..Self::field(param, message) }
    }

    /// Another model than the one that is served.
    pub fn model(asked: &str, served: &str) -> Self {
        let asked = host_files::text::name(asked);
        let message = format!("the model {asked} isn't served; ask for {served}");
        let error = Self::new(StatusCode::NOT_FOUND, message);
        Self { param: Some("model".into()), code: Some("model_not_found"), ..error }
    }

    /// More tokens than the model takes.
    pub fn too_long(param: &str, message: impl AsRef<str>) -> Self {
        Self { code: Some("context_length_exceeded"), ..Self::field(param, message) }
    }

    /// No key, or a wrong one.
    pub fn key() -> Self {
        let message = "this server needs its key in the header `Authorization: Bearer KEY`";
        Self { code: Some("invalid_api_key"), ..Self::new(StatusCode::UNAUTHORIZED, message) }
    }

    /// A name under which a page of somebody else's could reach this server.
    pub fn host() -> Self {
        let message = "a server without a key answers under localhost, 127.0.0.1 and [::1] alone; \
                       ask for it there, or start it with a key";
        Self { code: Some("host_not_allowed"), ..Self::new(StatusCode::FORBIDDEN, message) }
    }

    /// An address that has nothing, or not with this method.
    pub fn address(status: StatusCode) -> Self {
        let message = "served are POST /v1/chat/completions, /v1/completions, /tokenize and /detokenize, GET /v1/models, /v1/models/NAME, /tokenizer_info and /health";
        Self { code: Some("unknown_url"), ..Self::new(status, message) }
    }

    /// A body that isn't announced as JSON, is too large or doesn't come.
    pub fn body(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, message)
    }

    /// An answer that took too long.
    pub fn late(seconds: u64) -> Self {
        let message = format!(
            "no answer within {seconds} s; ask for fewer tokens, or start the server with a longer --timeout"
        );
        Self { code: Some("timeout"), ..Self::new(StatusCode::GATEWAY_TIMEOUT, message) }
    }

    /// Nobody is left to answer.
    pub fn gone() -> Self {
        Self::internal("the thread of the model has ended; start the server again")
    }

    /// A failure on this side.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The reply.
    pub fn reply(&self) -> Response<Body> {
        let mut response = super::reply(self.status, &self.json());
        let headers = response.headers_mut();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// Its JSON.
    pub fn json(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind(),
            "param": self.param,
            "code": self.code,
        }})
    }
}

/// Of a head that can't be read.
pub fn unread(status: StatusCode) -> ApiError {
    let message = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "the head of the request, address and headers, is larger than 64 KiB or has more than 100 lines; send fewer or shorter headers"
        }
        _ => "this is no HTTP/1.1 request that can be read; check method, address and headers",
    };
    ApiError { code: Some("unreadable_request"), ..ApiError::new(status, message) }
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        match full {
            Full::Queue => {
                let message = "as many answers wait as may wait; ask again in a while, or start the server with a longer --queue";
                Self {
                    code: Some("queue_full"),
                    ..Self::new(StatusCode::TOO_MANY_REQUESTS, message)
                }
            }
            Full::Ending => Failure::Ending.into(),
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Ending => {
                let message = "the server is ending; start it again";
                Self { code: Some("ending"), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
            }
            Failure::Model(problem) => Self::internal(problem),
        }
    }
}

/// Of a conversation or a text that the client gave.
impl From<host_model::Error> for ApiError {
    fn from(error: host_model::Error) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Of a conversation, in the words of data files without the place in one.
impl From<DataError> for ApiError {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Field { field, found, expected, .. } => {
                Self::field(&field, format!("is {found} but must be {expected}"))
            }
            DataError::EmptyContent { field, .. } => Self::field(&field, "is empty; fill it in"),
            DataError::Role { field, role, .. } => Self::field(
                &field,
                format!(
                    "has the unsupported role `{role}`; supported are system, developer, user, assistant and tool"
                ),
            ),
            DataError::Refused { field, problem, remedy, .. } => {
                Self::field(&field, format!("{problem}; {remedy}"))
            }
            other => Self::invalid(other.to_string()),
        }
    }
}
