//! Requests to a Hub: where they may go, with which token, how long they may take and how much they may bring.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use host_web::{Client as Web, Failure, Result, Visit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use ureq::tls::RootCerts;
use ureq::{Body, SendBody};

use super::kind::Kind;

/// A description of a repository with ten thousand files.
pub const LARGEST_DESCRIPTION: u64 = 16 << 20;
/// Messages about large files.
pub const LFS: &str = "application/vnd.git-lfs+json";

/// Where the bytes of a file go.
pub trait Sink {
    /// Bytes that are there already.
    fn length(&self) -> u64;
    /// Throws away what is there.
    fn restart(&mut self) -> std::io::Result<()>;
    /// Adds bytes at the end.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()>;
}

/// A repository as the Hub describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// The commit.
    pub sha: String,
    /// Its files.
    #[serde(default)]
    pub siblings: Vec<Sibling>,
    /// The head of its README.
    #[serde(default, rename = "cardData", skip_serializing_if = "Value::is_null")]
    pub card: Value,
}

/// One file of a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sibling {
    /// Path in the repository.
    pub rfilename: String,
    /// Bytes, where the server says so.
    pub size: Option<u64>,
    /// Of a large file.
    pub lfs: Option<Pointer>,
}

/// What a repository keeps in place of a large file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pointer {
    /// Digest of the file.
    pub sha256: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
}

/// A connection to one Hub.
pub struct Client {
    web: Web,
    endpoint: String,
    /// Sent to the endpoint alone.
    token: Option<HeaderValue>,
}

impl Client {
    /// `patience` is the longest wait for a connection, for the head of an answer and for more of its body.
    pub fn new(endpoint: &str, token: Option<&str>, patience: Duration) -> Result<Self> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let web = Web::new(&endpoint, RootCerts::WebPki, patience)?;
        let token = token.map(|token| {
            let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
            value.map_err(|_| {
                Failure::Untrusted(
                    "is to get a token with characters that no token has: correct HF_TOKEN".into(),
                )
            })
        });
        let mut token = token.transpose()?;
        token.iter_mut().for_each(|token| token.set_sensitive(true));
        Ok(Self { web, endpoint, token })
    }

    /// What the endpoint answers to a message; `path` begins behind its address. One that `is_repeatable` is sent
    /// again where that may help.
    pub fn post(
        &self,
        path: &str,
        kind: &str,
        body: &[u8],
        is_repeatable: bool,
    ) -> Result<Vec<u8>> {
        self.post_to(&format!("{}{path}", self.endpoint), kind, body, is_repeatable)
    }

    /// The same at an address that the endpoint gave. The token goes to the endpoint alone.
    pub fn post_to(
        &self,
        url: &str,
        kind: &str,
        body: &[u8],
        is_repeatable: bool,
    ) -> Result<Vec<u8>> {
        let at = self.web.named(url)?;
        let token = self.token.as_ref().filter(|_| self.web.is_home(&at));
        let send = || {
            let mut request = Request::post(&at).header(header::CONTENT_TYPE, kind);
            if kind == LFS {
                request = request.header(header::ACCEPT, LFS);
            }
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token.clone());
            }
            let mut response = succeeded(self.web.send(request, body)?)?;
            self.web.content(&mut response, LARGEST_DESCRIPTION)
        };
        if is_repeatable { Web::again(send) } else { send() }
    }

    /// The page of a commit.
    pub fn page(&self, id: &str, commit: &str) -> String {
        format!("{}/{id}/tree/{commit}", self.endpoint)
    }

    /// Puts `length` bytes of a file from `from` on to an address that the endpoint gave, without the token: the address
    /// holds a signature. The answer's headers.
    pub fn put(&self, url: &str, file: &Path, from: u64, length: u64) -> Result<HeaderMap> {
        let at = self.web.named(url)?;
        Web::again(|| {
            let mut file = std::fs::File::open(file)?;
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(from))?;
            let mut part = file.take(length);
            let request = Request::put(&at).header(header::CONTENT_LENGTH, length);
            let response = self.web.send(request, SendBody::from_reader(&mut part))?;
            Ok(succeeded(response)?.headers().clone())
        })
    }

    /// The commit of a revision, and its files.
    pub fn describe(&self, kind: Kind, id: &str, revision: &str) -> Result<Description> {
        let (revision, kinds) = (revision.replace('/', "%2F"), kind.plural());
        let url = format!("{}/api/{kinds}/{id}/revision/{revision}?blobs=true", self.endpoint);
        let body = Web::again(|| {
            let mut response = self.get(&url, None)?;
            self.web.content(&mut response, LARGEST_DESCRIPTION)
        })?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::Untrusted(format!("describes {id} in no known form ({error})"))
        })
    }

    /// Puts a file of a commit into `sink`, and goes on where a connection broke. `announced` is its size, if the
    /// description has it; no more than `most` bytes are taken.
    pub fn fetch(
        &self,
        kind: Kind,
        (id, commit, name): (&str, &str, &str),
        announced: Option<u64>,
        most: u64,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let repository = kind.address(id);
        let url = format!("{}/{repository}/resolve/{commit}/{name}", self.endpoint);
        let (mut before, mut tries) = (sink.length(), 0);
        loop {
            let failure = match self.part(&url, name, announced, most, sink) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if sink.length() > before {
                (before, tries) = (sink.length(), 0);
            }
            tries += 1;
            if !failure.is_passing() || !Web::pause(tries) {
                return Err(failure);
            }
        }
    }

    /// What one request brings of a file; all of it, if there is no error.
    fn part(
        &self,
        url: &str,
        name: &str,
        announced: Option<u64>,
        most: u64,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let from = sink.length();
        if announced.is_some_and(|size| size == from && from > 0) {
            return Ok(());
        }
        let mut response = self.get(url, Some(from))?;
        let size = match (stretch(response.headers()), length(response.headers())) {
            (Some((begin, size)), _) if response.status() == 206 => {
                if begin != from {
                    return Err(Failure::Untrusted(format!(
                        "sends another part of {name} than was asked for"
                    )));
                }
                size
            }
            (_, size) if response.status() == 200 => {
                sink.restart()?;
                size
            }
            _ => {
                return Err(Failure::Untrusted(format!(
                    "sends a part of {name} and doesn't say which"
                )));
            }
        };
        let size = match (announced, size) {
            (Some(announced), Some(size)) if announced != size => {
                let problem = format!("announces {announced} bytes of {name} and has {size}");
                return Err(Failure::Untrusted(problem));
            }
            (announced, size) => announced.or(size),
        };
        let Some(size) = size else {
            return Err(Failure::Untrusted(format!("doesn't say how large {name} is")));
        };
        if size > most {
            let problem = format!("has a {name} of {size} bytes; {most} are allowed");
            return Err(Failure::Untrusted(problem));
        }
        let left = size.saturating_sub(sink.length());
        self.web.receive(&mut response, left, |bytes| Ok(sink.append(bytes)?))?;
        match sink.length() {
            whole if whole == size => Ok(()),
            got => Err(Failure::Unreachable(format!("{name} ends after {got} of {size} bytes"))),
        }
    }

    /// The answer behind all redirects. The token goes to the endpoint alone.
    fn get(&self, url: &str, from: Option<u64>) -> Result<Response<Body>> {
        let range = from.filter(|from| *from > 0).map(|from| format!("bytes={from}-"));
        let headers: Vec<_> = range.iter().map(|range| (header::RANGE, range.as_str())).collect();
        let token = self.token.as_ref();
        let visit = Visit { authorization: token, headers: &headers, ..Visit::default() };
        succeeded(self.web.visit(url, &visit)?)
    }
}

fn succeeded(response: Response<Body>) -> Result<Response<Body>> {
    match response.status() {
        status if status.is_success() => Ok(response),
        status => Err(Failure::Status(status.as_u16())),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &header::CONTENT_LENGTH)?.parse().ok()
}

/// Where a part of a file begins, and the size of the whole: `bytes 5-9/10`.
fn stretch(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, size) =
        text(headers, &header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()))
}
