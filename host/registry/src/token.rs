//! Tokens of the service that a registry names.

use std::time::Duration;

use host_web::{Client as Web, Failure, address};
use serde::Deserialize;
use ureq::http::request::Builder;
use ureq::http::{Request, header};
use ureq::tls::RootCerts;

use crate::credentials::Login;
use crate::error::{Attempt, Problem};

/// More than any token with what is said of it.
const LONGEST: u64 = 1 << 18;

/// What a token is asked for.
pub struct Wanted<'a> {
    /// Address of the service, as the registry names it.
    pub realm: &'a str,
    /// What the service knows the registry as.
    pub service: Option<&'a str>,
    /// Such as `repository:team/probe:pull`.
    pub scope: String,
    /// Whether the registry is on this machine, where any process may answer for it.
    pub is_local: bool,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Wanted<'_> {
    /// Asks for a token, as whoever has the login or as nobody; no redirect is followed.
    ///
    /// # Errors
    /// A service that isn't reached by https (or on this machine, for a registry on it), or refuses.
    pub fn get(&self, login: Option<&Login>, patience: Duration) -> Attempt<String> {
        let at = address::address(self.realm).map_err(said)?;
        address::allowed(&at, self.is_local).map_err(said)?;
        let shown = address::shown(&at);
        if self.is_local && login.is_some() && !at.host().is_some_and(address::is_loopback) {
            let what = format!("is on this machine and would have a login sent to {shown}");
            return Err(Problem::lie(what));
        }
        let web = Web::new(self.realm, RootCerts::WebPki, patience).map_err(said)?;
        let mut response = Web::again(|| {
            let response = match login {
                Some(Login::Identity(token)) => web.send(
                    Request::post(self.realm)
                        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
                    self.form(token).as_bytes(),
                ),
                Some(login) => web.send(with(self.question(), login.basic()), ()),
                None => web.send(self.question(), ()),
            }?;
            match response.status() {
                status if status.is_success() => Ok(response),
                status => Err(Failure::Status(status.as_u16())),
            }
        })
        .map_err(|failure| Self::refused(failure, &shown, login.is_some()))?;
        let body = web.content(&mut response, LONGEST).map_err(said)?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| Problem::lie(format!("names {shown} for tokens, which sends none")))?;
        answer
            .token
            .or(answer.access_token)
            .filter(|token| !token.is_empty())
            .ok_or_else(|| Problem::lie(format!("names {shown} for tokens, which sends none")))
    }

    fn question(&self) -> Builder {
        let mut url = self.realm.to_owned();
        url.push(if self.realm.contains('?') { '&' } else { '?' });
        if let Some(service) = self.service {
            url += &format!("service={}&", encoded(service));
        }
        url += &format!("scope={}", encoded(&self.scope));
        Request::get(url)
    }

    fn form(&self, token: &str) -> String {
        let service = encoded(self.service.unwrap_or_default());
        let (scope, token) = (encoded(&self.scope), encoded(token));
        format!(
            "grant_type=refresh_token&client_id=host&service={service}&scope={scope}&refresh_token={token}"
        )
    }

    fn refused(failure: Failure, shown: &str, known: bool) -> Problem {
        match failure {
            Failure::Status(status @ (400..=403)) => Problem::new(
                format!("the registry's token service {shown} refuses (status {status})"),
                if known {
                    "log in again: docker login, podman login, or oras login"
                } else {
                    "check the name, or log in: docker login, podman login, or oras login"
                },
            ),
            Failure::Status(status @ 300..=399) => {
                Problem::lie(format!("names {shown} for tokens, which redirects (status {status})"))
            }
            Failure::Status(status) => Problem::new(
                format!("the registry's token service {shown} answers with status {status}"),
                "try again later",
            ),
            Failure::Unreachable(why) => Problem {
                passing: true,
                ..Problem::new(
                    format!("the registry's token service {shown} can't be reached ({why})"),
                    "check the network, and try again",
                )
            },
            other => said(other),
        }
    }
}

fn said(failure: Failure) -> Problem {
    match failure {
        Failure::Untrusted(what) => Problem::lie(format!("names a token service that {what}")),
        other => other.into(),
    }
}

fn with(request: Builder, authorization: Option<String>) -> Builder {
    match authorization {
        Some(authorization) => request.header(header::AUTHORIZATION, authorization),
        None => request,
    }
}

/// A value of a query or a form.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        assert_eq!(encoded("repository:a/b:pull,push"), "repository:a/b:pull,push");
        assert_eq!(encoded("a b&c=d\"é"), "a%20b%26c%3Dd%22%C3%A9");
    }
}
