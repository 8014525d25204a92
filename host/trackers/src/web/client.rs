//! One request: how long it may take, what of its answer is read, and what becomes of it if it
//! fails.

use std::io::ErrorKind;
use std::time::Duration;

use host_data::failure::{Failure as Error, Result};
use host_files::text::clean;
use host_web::{agent, wait};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{StatusCode, header};

use super::address::Address;
use crate::clock::Clock;
use crate::tracker::{Next, Trouble};

/// The longest time of one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than any answer that is needed.
const LONGEST_REPLY: u64 = 1 << 20;
/// What is read of the body of an error.
const LONGEST_COMPLAINT: u64 = 1 << 14;
/// The longest rest that a server may ask for.
const LONGEST_REST: Duration = Duration::from_secs(3600);

pub struct Client {
    agent: Agent,
    authorization: Option<String>,
    shown: String,
}

/// What is sent.
pub enum Body<'a> {
    Nothing,
    Json(&'a Value),
}

impl Client {
    /// # Errors
    /// An address that can't be, a variable that isn't there, a file without certificates.
    pub fn new(address: &Address) -> Result<Self> {
        address.check()?;
        address.need_consent()?;
        let authorization = address.token_variable.map(|variable| token(address, variable));
        let roots = agent::authorities(address.certificates);
        let roots = roots.map_err(|error| match (error.kind(), address.certificates) {
            (ErrorKind::InvalidData, _) | (_, None) => {
                Error::config(address.key("certificates"), error.to_string())
            }
            (_, Some(path)) => Error::read(path, error),
        })?;
        let agent = agent::builder(roots, address.is_local()).build().into();
        Ok(Self { agent, authorization: authorization.transpose()?, shown: address.shown() })
    }

    /// The JSON of an answer; null where it is none.
    ///
    /// # Errors
    /// Whatever is no success.
    pub fn ask(&self, url: &str, body: Body, clock: &Clock) -> Result<Value, Trouble> {
        let left = clock.left().unwrap_or(TIMEOUT).min(TIMEOUT);
        if left.is_zero() {
            return Err(self.trouble("was given no more time", Next::Retry(None)));
        }
        let mut response = match body {
            Body::Nothing => {
                let mut request = self.agent.get(url).config().timeout_global(Some(left)).build();
                if let Some(authorization) = &self.authorization {
                    request = request.header(header::AUTHORIZATION, authorization);
                }
                request.call()
            }
            Body::Json(value) => {
                let request = self.agent.post(url).config().timeout_global(Some(left)).build();
                let mut request = request.header(header::CONTENT_TYPE, "application/json");
                if let Some(authorization) = &self.authorization {
                    request = request.header(header::AUTHORIZATION, authorization);
                }
                request.send(value.to_string())
            }
        }
        .map_err(|error| self.broken(&error))?;
        let status = response.status();
        if !status.is_success() {
            let rest = wait::told(response.headers()).map(|rest| rest.min(LONGEST_REST));
            let reader = response.body_mut().with_config().limit(LONGEST_COMPLAINT);
            // The status says enough, if the body doesn't come.
            let body = reader.read_to_vec().unwrap_or_default();
            return Err(self.refused(status, rest, &body));
        }
        let reader = response.body_mut().with_config().limit(LONGEST_REPLY);
        let body = reader.read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                self.trouble(&format!("answered with more than {LONGEST_REPLY} bytes"), Next::Stop)
            }
            error => self.broken(&error),
        })?;
        Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// An answer that makes no sense.
    pub fn strange(&self, what: &str) -> Trouble {
        self.trouble(&format!("gave an answer without {what}"), Next::Stop)
    }

    pub fn trouble(&self, problem: &str, next: Next) -> Trouble {
        Trouble { problem: format!("{} {problem}", self.shown), next }
    }

    /// Time-outs, refused and broken connections: all may pass.
    fn broken(&self, error: &ureq::Error) -> Trouble {
        self.trouble(&format!("can't be reached ({error})"), Next::Retry(None))
    }

    fn refused(&self, status: StatusCode, rest: Option<Duration>, body: &[u8]) -> Trouble {
        let next = match status {
            status if wait::passes(status) => Next::Retry(rest),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Next::Skip,
            _ => Next::Stop,
        };
        let words = words(body);
        let words = if words.is_empty() { words } else { format!(": {words:?}") };
        self.trouble(&format!("answered {status}{words}"), next)
    }
}

/// The token in a variable: as it is, if it names its kind.
fn token(address: &Address, variable: &str) -> Result<String> {
    let found = std::env::var(variable).ok().filter(|token| !token.trim().is_empty());
    let token = found.ok_or_else(|| {
        let problem = format!("the environment has no variable {variable}");
        Error::config(address.key("token_variable"), problem)
    })?;
    let token = token.trim();
    let is_whole = ["Bearer ", "Basic "].iter().any(|kind| token.starts_with(kind));
    Ok(if is_whole { token.into() } else { format!("Bearer {token}") })
}

/// What a server says is wrong, fit for one line.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let message = serde_json::from_str::<Value>(&text).ok().and_then(|value| {
        let found = ["message", "error_code", "error", "detail"];
        found.iter().find_map(|key| value.get(*key)?.as_str().map(str::to_owned))
    });
    clean(message.as_deref().unwrap_or(&text), 200)
}
