//! Requests to a Hub: where they may go, with which token, how long they may take and how much they may bring.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use ureq::{Agent, Body, SendBody};

use super::address::{address, allowed, is_loopback, origin, target};
use super::failure::{Failure, Result};
use super::kind::Kind;

/// Hops from a file's address to the store that has it; the Hub takes two.
const REDIRECTS: usize = 8;
/// Requests for one thing, as long as nothing more of it comes.
const TRIES: u32 = 3;
/// Bytes a second below which a transfer is given up.
const SLOWEST: u64 = 1024;
/// Wait before the second try; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// A description of a repository with ten thousand files.
pub const LARGEST_DESCRIPTION: u64 = 16 << 20;
const CHUNK: usize = 1 << 16;
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
    agent: Agent,
    endpoint: String,
    /// Sent to the endpoint alone.
    token: Option<HeaderValue>,
    patience: Duration,
}

impl Client {
    /// `patience` is the longest wait for a connection, for the head of an answer and for more of its body.
    pub fn new(endpoint: &str, token: Option<&str>, patience: Duration) -> Result<Self> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        allowed(&address(&endpoint)?, true)?;
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
        let agent = Agent::config_builder()
            .timeout_resolve(Some(patience))
            .timeout_connect(Some(patience))
            .timeout_send_request(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("host/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self { agent, endpoint, token, patience })
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
        let at = address(url)?;
        let endpoint = address(&self.endpoint)?;
        allowed(&at, endpoint.host().is_some_and(is_loopback))?;
        let token = self.token.as_ref().filter(|_| origin(&at) == origin(&endpoint));
        let send = || {
            let mut request = self.agent.post(&at).header(header::CONTENT_TYPE, kind);
            if kind == LFS {
                request = request.header(header::ACCEPT, LFS);
            }
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token.clone());
            }
            let mut response = request.send(body).map_err(unreachable)?;
            if !response.status().is_success() {
                return Err(Failure::Status(response.status().as_u16()));
            }
            let mut answer = Vec::new();
            self.receive(&mut response, LARGEST_DESCRIPTION, |bytes| {
                answer.extend_from_slice(bytes);
                Ok(())
            })?;
            Ok(answer)
        };
        if is_repeatable { again(send) } else { send() }
    }

    /// The page of a commit.
    pub fn page(&self, id: &str, commit: &str) -> String {
        format!("{}/{id}/tree/{commit}", self.endpoint)
    }

    /// Puts `length` bytes of a file from `from` on to an address that the endpoint gave, without the token: the address
    /// holds a signature. The answer's headers.
    pub fn put(&self, url: &str, file: &Path, from: u64, length: u64) -> Result<HeaderMap> {
        let at = address(url)?;
        let endpoint = address(&self.endpoint)?;
        allowed(&at, endpoint.host().is_some_and(is_loopback))?;
        again(|| {
            let mut file = std::fs::File::open(file)?;
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(from))?;
            let mut part = file.take(length);
            let request = self.agent.put(&at).header(header::CONTENT_LENGTH, length);
            let response = request.send(SendBody::from_reader(&mut part)).map_err(unreachable)?;
            match response.status() {
                status if status.is_success() => Ok(response.headers().clone()),
                status => Err(Failure::Status(status.as_u16())),
            }
        })
    }

    /// The commit of a revision, and its files.
    pub fn describe(&self, kind: Kind, id: &str, revision: &str) -> Result<Description> {
        let (revision, kinds) = (revision.replace('/', "%2F"), kind.plural());
        let url = format!("{}/api/{kinds}/{id}/revision/{revision}?blobs=true", self.endpoint);
        let body = again(|| {
            let mut response = self.get(&url, None)?;
            let mut body = Vec::new();
            self.receive(&mut response, LARGEST_DESCRIPTION, |bytes| {
                body.extend_from_slice(bytes);
                Ok(())
            })?;
            Ok(body)
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
            if !failure.is_passing() || tries == TRIES {
                return Err(failure);
            }
            std::thread::sleep(FIRST_WAIT * tries);
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
        self.receive(&mut response, left, |bytes| Ok(sink.append(bytes)?))?;
        match sink.length() {
            whole if whole == size => Ok(()),
            got => Err(Failure::Unreachable(format!("{name} ends after {got} of {size} bytes"))),
        }
    }

    /// Gives the body of a response to `each`, piece by piece; more than `most` bytes are an error, and so is less than
    /// [`SLOWEST`] over the time of the patience.
    fn receive(
        &self,
        response: &mut Response<Body>,
        most: u64,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut body = response.body_mut().as_reader();
        let mut chunk = vec![0; CHUNK];
        let (mut total, mut window, mut since) = (0, 0, Instant::now());
        loop {
            let read = match body.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Unreachable(error.to_string())),
            };
            total += read as u64;
            window += read as u64;
            if total > most {
                return Err(Failure::Untrusted(format!(
                    "sends more than the {most} bytes expected"
                )));
            }
            each(&chunk[..read])?;
            let passed = since.elapsed();
            if passed >= self.patience {
                if window < (SLOWEST as f64 * passed.as_secs_f64()) as u64 {
                    let problem = format!("sent {window} bytes in {} s", passed.as_secs());
                    return Err(Failure::Unreachable(problem));
                }
                (window, since) = (0, Instant::now());
            }
        }
    }

    /// The answer behind all redirects. The token goes to the endpoint alone, and to nothing that a redirect away from
    /// it leads back to.
    fn get(&self, url: &str, from: Option<u64>) -> Result<Response<Body>> {
        let endpoint = address(&self.endpoint)?;
        let local = endpoint.host().is_some_and(is_loopback);
        let (mut at, mut is_home) = (address(url)?, true);
        for _ in 0..=REDIRECTS {
            allowed(&at, local)?;
            is_home &= origin(&at) == origin(&endpoint);
            let mut request = self.agent.get(&at);
            if let Some(token) = self.token.as_ref().filter(|_| is_home) {
                request = request.header(header::AUTHORIZATION, token.clone());
            }
            if let Some(from) = from.filter(|from| *from > 0) {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = request.call().map_err(unreachable)?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if ![301, 302, 303, 307, 308].contains(&status.as_u16()) {
                return Err(Failure::Status(status.as_u16()));
            }
            at = target(&at, response.headers())?;
        }
        Err(Failure::Untrusted(format!("redirects more than {REDIRECTS} times")))
    }
}

/// Makes a request again where that may help.
fn again<T>(mut request: impl FnMut() -> Result<T>) -> Result<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        match request() {
            Err(failure) if failure.is_passing() && tries < TRIES => {
                std::thread::sleep(FIRST_WAIT * tries);
            }
            outcome => return outcome,
        }
    }
}

fn unreachable(error: ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::Unreachable("no answer in time".into()),
        error => Failure::Unreachable(error.to_string()),
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
