//! Requests to one repository: who asks, how often, and what an answer that is none means.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host_files::text::clean;
use host_web::{Client as Web, Failure, Visit, address, wait};
use serde::Deserialize;
use ureq::Body;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use ureq::tls::RootCerts;

use crate::challenge::Challenge;
use crate::credentials::{self, Found};
use crate::error::{Attempt, Problem};
use crate::reference::{Digest, Reference};
use crate::token::Wanted;

/// What is read of the body of an error.
const LONGEST_COMPLAINT: u64 = 1 << 14;
/// Times that one request is made.
const TRIES: u32 = 5;
/// The same where there was no answer, for each of which the patience may be needed.
const TRIES_UNREACHED: u32 = 3;
/// The longest rest between two of them, and all rests of a command together.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Rest before the second try where no server asks for one; each later one is twice as long.
const FIRST_REST: Duration = Duration::from_millis(300);

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// Files with logins.
    pub places: Vec<PathBuf>,
    /// Longest wait for a connection, an answer, or more of it.
    pub patience: Duration,
    /// What showed who asks, by repository and purpose: a token serves all that is asked of one.
    pub shown: Arc<Mutex<BTreeMap<String, HeaderValue>>>,
}

/// What a session is for, as tokens are asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Pull,
    Push,
}

/// A connection to the repository of a reference.
pub struct Session<'a> {
    pub reference: &'a Reference,
    pub web: Web,
    access: &'a Access,
    purpose: Purpose,
    /// As the registry has asked for it.
    authorization: RefCell<Option<HeaderValue>>,
    login: RefCell<Option<Found>>,
    rested: Cell<Duration>,
}

#[derive(Deserialize)]
struct Complaints {
    errors: Vec<Complaint>,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl<'a> Session<'a> {
    pub fn new(reference: &'a Reference, purpose: Purpose, access: &'a Access) -> Attempt<Self> {
        let web = Web::new(&reference.address(), RootCerts::WebPki, access.patience)?;
        let kept = access.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = kept.get(&key(reference, purpose)).cloned();
        Ok(Self {
            reference,
            web,
            access,
            purpose,
            authorization: RefCell::new(shown),
            login: RefCell::default(),
            rested: Cell::default(),
        })
    }

    /// Address of something of the repository.
    pub fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.reference.address())
    }

    /// The answer to a request, whatever its status but one that passes or asks who is there. `make` gets what shows who
    /// asks, and sends it to nobody but the registry.
    pub fn ask(
        &self,
        make: impl Fn(Option<&HeaderValue>) -> host_web::Result<Response<Body>>,
    ) -> Attempt<Response<Body>> {
        let (mut tries, mut introduced) = (0, false);
        loop {
            tries += 1;
            let shown = self.authorization.borrow().clone();
            let (mut problem, rest, most) = match make(shown.as_ref()) {
                Ok(response) if response.status() == 401 && !introduced => {
                    introduced = true;
                    if self.introduce(response.headers())? {
                        continue;
                    }
                    return Ok(response);
                }
                Ok(mut response) if wait::passes(response.status()) => {
                    let rest = wait::told(response.headers());
                    (self.refusal(&mut response), rest, TRIES)
                }
                Ok(response) => return Ok(response),
                Err(failure @ Failure::Unreachable(_)) => (failure.into(), None, TRIES_UNREACHED),
                Err(failure) => return Err(failure.into()),
            };
            let rest = rest.unwrap_or(FIRST_REST * 2u32.saturating_pow(tries - 1));
            let rested = self.rested.get() + rest;
            if tries >= most {
                problem.problem += &format!(", {tries} times in a row");
                return Err(problem);
            }
            if rested > LONGEST_REST {
                let seconds = rest.as_secs_f64().ceil();
                problem.problem += &format!(", and asks for {seconds} s of rest");
                return Err(problem);
            }
            self.rested.set(rested);
            std::thread::sleep(rest);
        }
    }

    /// GET, or HEAD, of something of the repository.
    pub fn get(
        &self,
        path: &str,
        head: bool,
        headers: &[(HeaderName, &str)],
    ) -> Attempt<Response<Body>> {
        let url = self.address(path);
        self.ask(|authorization| self.web.visit(&url, &Visit { head, authorization, headers }))
    }

    /// The whole body of an answer, of at most `most` bytes; refused before it is read if it says that it is larger.
    pub fn body(&self, response: &mut Response<Body>, what: &str, most: u64) -> Attempt<Vec<u8>> {
        if let Some(length) = length(response.headers()).filter(|length| *length > most) {
            return Err(Problem::lie(format!("has {length} bytes of {what}; {most} are allowed")));
        }
        self.web.content(response, most).map_err(|failure| match failure {
            Failure::Untrusted(what_it_does) => Problem::lie(format!("{what_it_does} of {what}")),
            other => other.into(),
        })
    }

    /// The bytes that a digest names, of exactly this size.
    pub fn blob(&self, digest: &Digest, size: u64, what: &str) -> Attempt<Vec<u8>> {
        let mut response = self.get(&format!("blobs/{digest}"), false, &[])?;
        if !response.status().is_success() {
            return Err(self.refusal(&mut response));
        }
        if let Some(length) = length(response.headers()).filter(|length| *length != size) {
            return Err(Problem::lie(format!(
                "announces {size} bytes of {what} and sends {length}"
            )));
        }
        let bytes = self.body(&mut response, what, size)?;
        if bytes.len() as u64 != size {
            let got = bytes.len();
            return Err(Problem::lie(format!("sends {got} of the {size} bytes of {what}")));
        }
        checked(bytes, digest, what)
    }

    /// Shows who asks from now on, as the registry wants it; false if there is nothing to show.
    fn introduce(&self, headers: &HeaderMap) -> Attempt<bool> {
        let Some(challenge) = Challenge::of(headers) else { return Ok(false) };
        let login = self.login()?;
        let shown = match &challenge {
            Challenge::Basic => login.as_ref().and_then(|found| found.login.basic()),
            Challenge::Bearer { realm, service } => {
                let actions = if self.purpose == Purpose::Push { "pull,push" } else { "pull" };
                let wanted = Wanted {
                    realm,
                    service: service.as_deref(),
                    scope: format!("repository:{}:{actions}", self.reference.repository),
                    is_local: self.reference.is_local(),
                };
                self.tell(realm, login.as_ref());
                let token = wanted.get(login.as_ref().map(|it| &it.login), self.access.patience)?;
                Some(format!("Bearer {token}"))
            }
        };
        let Some(shown) = shown else { return Ok(false) };
        let mut shown = HeaderValue::try_from(shown)
            .map_err(|_| Problem::lie("names a token service whose token can't be one"))?;
        shown.set_sensitive(true);
        let mut kept = self.access.shown.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(key(self.reference, self.purpose), shown.clone());
        *self.authorization.borrow_mut() = Some(shown);
        Ok(true)
    }

    fn login(&self) -> Attempt<Option<Found>> {
        if self.login.borrow().is_none() {
            let Reference { registry, repository, .. } = self.reference;
            let found = credentials::find(&self.access.places, registry, repository);
            *self.login.borrow_mut() = found.map_err(|problem| {
                let problem = format!("the login for the registry can't be read: {problem}");
                Problem::new(problem, "mend it, or name another file with REGISTRY_AUTH_FILE")
            })?;
        }
        Ok(self.login.borrow().clone())
    }

    /// Says where a login goes, if that is another host than the one it is for.
    fn tell(&self, realm: &str, login: Option<&Found>) {
        let (Some(found), Ok(at)) = (login, address::address(realm)) else { return };
        if !self.web.is_home(&at) {
            tracing::info!(
                "the login for {} (in {}) goes to {}, which this registry names for tokens",
                self.reference.registry,
                found.file.display(),
                address::shown(&at)
            );
        }
    }

    /// Why there is no answer but a status.
    pub fn refusal(&self, response: &mut Response<Body>) -> Problem {
        let status = response.status();
        let body = self.web.content(response, LONGEST_COMPLAINT).unwrap_or_default();
        let words = words(&body);
        let registry = &self.reference.registry;
        let (problem, action) = match status {
            StatusCode::UNAUTHORIZED => match &*self.login.borrow() {
                Some(found) => (
                    format!("the registry refuses the login in {}", found.file.display()),
                    format!("log in again: docker login {registry}, or podman login {registry}"),
                ),
                None => (
                    "the registry wants to know who asks, or has no such policy".to_owned(),
                    format!(
                        "check the name, or log in: docker login {registry}, or podman login {registry}"
                    ),
                ),
            },
            StatusCode::FORBIDDEN => (
                "the registry refuses access".to_owned(),
                "ask its owner, or log in as somebody who may".to_owned(),
            ),
            StatusCode::NOT_FOUND => (
                "there is no such policy in the registry".to_owned(),
                "check repository, tag and digest".to_owned(),
            ),
            status => (format!("the registry answers with status {}", status.as_u16()), {
                if wait::passes(status) { "try again later" } else { "check the name" }.to_owned()
            }),
        };
        let words = if words.is_empty() { words } else { format!(" ({words})") };
        Problem { passing: wait::passes(status), ..Problem::new(problem + &words, action) }
    }
}

fn key(reference: &Reference, purpose: Purpose) -> String {
    format!("{purpose:?} {}", reference.address())
}

/// Bytes that have the digest that names them.
pub fn checked(bytes: Vec<u8>, digest: &Digest, what: &str) -> Attempt<Vec<u8>> {
    let found = Digest::of(&bytes);
    if found == *digest {
        return Ok(bytes);
    }
    Err(Problem::lie(format!(
        "sends other bytes of {what} than their digest says: {found} for {digest}"
    )))
}

/// What the head of an answer says of its length.
pub fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// What a registry says is wrong, fit for one line.
fn words(body: &[u8]) -> String {
    let Ok(complaints) = serde_json::from_slice::<Complaints>(body) else { return String::new() };
    let complaint = complaints.errors.into_iter().next();
    complaint.map(|it| clean(&format!("{} {}", it.code, it.message), 200)).unwrap_or_default()
}
