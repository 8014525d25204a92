//! A client of one server: it follows redirects itself, and reads no more than was agreed.

use std::io::Read as _;
use std::time::{Duration, Instant};

use ureq::http::request::Builder;
use ureq::http::{Error, HeaderName, HeaderValue, Response, Uri, header};
use ureq::tls::RootCerts;
use ureq::{Agent, AsSendBody, Body};

use crate::address::{address, allowed, is_loopback, origin, target};
use crate::agent;
use crate::failure::{Failure, Result};

/// Hops from an address to the store that has what it names; two are usual.
const REDIRECTS: usize = 8;
/// Bytes a second below which a transfer is given up.
const SLOWEST: u64 = 1024;
/// Requests for one thing, as long as nothing more of it comes.
const TRIES: u32 = 3;
/// Wait before the second try; each later one is longer by as much.
const FIRST_WAIT: Duration = Duration::from_millis(300);
const CHUNK: usize = 1 << 16;

/// A connection to one server, its home.
pub struct Client {
    agent: Agent,
    home: Uri,
    patience: Duration,
}

/// What a request without a body asks, and with which secret.
#[derive(Debug, Default)]
pub struct Visit<'a> {
    /// HEAD instead of GET.
    pub head: bool,
    /// Sent to the home alone, and to nothing that a redirect away from it leads back to.
    pub authorization: Option<&'a HeaderValue>,
    /// Other headers, sent wherever the request goes.
    pub headers: &'a [(HeaderName, &'a str)],
}

impl Client {
    /// `patience` is the longest wait for a connection, for the head of an answer and for more of its body.
    ///
    /// # Errors
    /// [`Failure::Untrusted`] for an address that is neither https nor on this machine.
    pub fn new(home: &str, roots: RootCerts, patience: Duration) -> Result<Self> {
        let home = address(home)?;
        allowed(&home, true)?;
        let agent = agent::patient(roots, home.host().is_some_and(is_loopback), patience);
        Ok(Self { agent, home, patience })
    }

    /// An address that this server named, if a request may go there.
    ///
    /// # Errors
    /// [`Failure::Untrusted`] for plain http, but on this machine if the server is on it.
    pub fn named(&self, url: &str) -> Result<Uri> {
        let at = address(url)?;
        allowed(&at, self.is_local())?;
        Ok(at)
    }

    /// Whether an address is of the server itself: scheme, host and port.
    pub fn is_home(&self, at: &Uri) -> bool {
        origin(at) == origin(&self.home)
    }

    /// Whether the server is on this machine.
    pub fn is_local(&self) -> bool {
        self.home.host().is_some_and(is_loopback)
    }

    /// The answer behind all redirects, whatever its status. `url` is the server's own, or one that it named.
    ///
    /// # Errors
    /// No answer in time, a redirect to where none may lead, and too many of them.
    pub fn visit(&self, url: &str, visit: &Visit<'_>) -> Result<Response<Body>> {
        let (mut at, mut is_home) = (address(url)?, true);
        for _ in 0..=REDIRECTS {
            allowed(&at, self.is_local())?;
            is_home &= self.is_home(&at);
            let mut request = if visit.head { self.agent.head(&at) } else { self.agent.get(&at) };
            if let Some(secret) = visit.authorization.filter(|_| is_home) {
                request = request.header(header::AUTHORIZATION, secret.clone());
            }
            for (name, value) in visit.headers {
                request = request.header(name, *value);
            }
            let response = request.call().map_err(|error| unreachable(&error))?;
            if ![301, 302, 303, 307, 308].contains(&response.status().as_u16()) {
                return Ok(response);
            }
            at = target(&at, response.headers())?;
        }
        Err(Failure::Untrusted(format!("redirects more than {REDIRECTS} times")))
    }

    /// Sends a request with a body, which follows no redirect; the answer, whatever its status. Whoever calls says
    /// where its secrets may go.
    ///
    /// # Errors
    /// An address that may not be, and no answer in time.
    pub fn send(&self, request: Builder, body: impl AsSendBody) -> Result<Response<Body>> {
        let odd =
            |error: Error| Failure::Untrusted(format!("can't be sent this request ({error})"));
        let request = request.body(body).map_err(odd)?;
        allowed(request.uri(), self.is_local())?;
        self.agent.run(request).map_err(|error| unreachable(&error))
    }

    /// Gives the body of a response to `each`, piece by piece; more than `most` bytes are an error, and so is less than
    /// 1 KiB a second over the time of the patience.
    ///
    /// # Errors
    /// [`Failure::Untrusted`] for too much, [`Failure::Unreachable`] for too little.
    pub fn receive(
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

    /// The whole body of a response, of at most `most` bytes.
    ///
    /// # Errors
    /// As [`Client::receive`].
    pub fn content(&self, response: &mut Response<Body>, most: u64) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.receive(response, most, |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(content)
    }

    /// Makes a request again where that may help.
    ///
    /// # Errors
    /// The last failure.
    pub fn again<T>(mut request: impl FnMut() -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            tries += 1;
            match request() {
                Err(failure) if failure.is_passing() && Self::pause(tries) => {}
                outcome => return outcome,
            }
        }
    }

    /// Waits before the next try after so many; false if there is none.
    pub fn pause(tries: u32) -> bool {
        if tries >= TRIES {
            return false;
        }
        std::thread::sleep(FIRST_WAIT * tries);
        true
    }
}

fn unreachable(error: &ureq::Error) -> Failure {
    Failure::Unreachable(match error {
        ureq::Error::Timeout(_) => "no answer in time".into(),
        error => error.to_string(),
    })
}
