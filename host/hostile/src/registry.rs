//! A registry on this machine that keeps what is pushed in memory, and whose answers a test may change: so it lies in
//! whichever way the test is about.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_sandbox::digest;
use serde_json::{Value, json};

use crate::server::{self, Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A request to a registry.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Header lines, names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// An answer: what an honest registry says, until a test changes it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub then: Then,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Ends,
    /// The body is sent again and again, and its length isn't said.
    Endless,
    /// Nothing is sent for so long.
    Stalls(Duration),
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), then: Then::Ends }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

type Change = dyn Fn(&Asked, Answer) -> Answer + Send + Sync;

/// The server; it ends when it is dropped.
pub struct Registry {
    server: Server,
    kept: Arc<Mutex<Kept>>,
}

struct Shared {
    address: SocketAddr,
    /// Whether it lists referrers, as OCI 1.1 has it.
    lists: bool,
    change: Box<Change>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// Blobs and manifests by digest.
    bytes: BTreeMap<String, Vec<u8>>,
    /// Digest and media type by `repository` and tag or digest.
    manifests: BTreeMap<(String, String), (String, String)>,
    asked: Vec<Asked>,
}

impl Registry {
    /// An honest one, from before OCI 1.1: without a list of referrers.
    ///
    /// # Errors
    /// If there is no port to listen at.
    pub fn start() -> io::Result<Self> {
        Self::changed(false, |_, answer| answer)
    }

    /// One whose answers are changed; `lists` has it serve referrers.
    ///
    /// # Errors
    /// If there is no port to listen at.
    pub fn changed(
        lists: bool,
        change: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let server = Server::start(|address| {
            let shared = Shared { address, lists, change: Box::new(change), kept: kept.clone() };
            // Whoever asked may be gone.
            move |stream| drop(shared.serve(&stream))
        })?;
        Ok(Self { server, kept })
    }

    /// Host and port.
    pub fn host(&self) -> String {
        self.server.address.to_string()
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.kept).asked.clone()
    }

    /// Puts a manifest under a tag, whatever it is.
    pub fn put(&self, repository: &str, tag: &str, kind: &str, manifest: &[u8]) {
        lock(&self.kept).put(repository, tag, kind, manifest);
    }

    /// Keeps bytes by their digest.
    pub fn keep(&self, bytes: &[u8]) {
        let digest = named(bytes);
        lock(&self.kept).bytes.insert(digest, bytes.to_owned());
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn put(&mut self, repository: &str, tag: &str, kind: &str, manifest: &[u8]) -> String {
        let digest = named(manifest);
        self.bytes.insert(digest.clone(), manifest.to_owned());
        for name in [tag, &digest] {
            let value = (digest.clone(), kind.to_owned());
            self.manifests.insert((repository.to_owned(), name.to_owned()), value);
        }
        digest
    }

    fn referrers(&self, repository: &str, of: &str) -> Vec<Value> {
        let mut found: BTreeMap<&str, Value> = BTreeMap::new();
        for ((at, _), (digest, kind)) in &self.manifests {
            let bytes = self.bytes.get(digest).map_or(&[][..], Vec::as_slice);
            let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
            if at == repository && manifest["subject"]["digest"] == of {
                found.insert(
                    digest,
                    json!({
                        "mediaType": kind, "digest": digest, "size": bytes.len(),
                        "artifactType": manifest["artifactType"],
                    }),
                );
            }
        }
        found.into_values().collect()
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let asked = read(stream)?;
        let honest = self.answer(&asked);
        lock(&self.kept).asked.push(asked.clone());
        write(stream, &asked, &(self.change)(&asked, honest))
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let Some(rest) = path.strip_prefix("/v2/") else { return Answer::new(404, "") };
        let parts = ["/manifests/", "/blobs/uploads/", "/blobs/", "/referrers/"];
        let found = parts.iter().find_map(|part| Some((*part, rest.split_once(part)?)));
        let Some((part, (repository, named))) = found else { return Answer::new(404, "") };
        let mut kept = lock(&self.kept);
        match (asked.method.as_str(), part) {
            ("GET" | "HEAD", "/manifests/") => {
                let key = (repository.to_owned(), named.to_owned());
                match kept.manifests.get(&key) {
                    Some((digest, kind)) => Answer::new(200, kept.bytes[digest].clone())
                        .with("content-type", kind)
                        .with("docker-content-digest", digest),
                    None => missing("MANIFEST_UNKNOWN"),
                }
            }
            ("GET" | "HEAD", "/blobs/") => match kept.bytes.get(named) {
                Some(bytes) => Answer::new(200, bytes.clone()),
                None => missing("BLOB_UNKNOWN"),
            },
            ("GET", "/referrers/") if self.lists => {
                let manifests = kept.referrers(repository, named);
                let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
                Answer::new(200, index.to_string()).with("content-type", INDEX)
            }
            ("POST", "/blobs/uploads/") => Answer::new(202, "").with(
                "location",
                format!("http://{}/v2/{repository}/blobs/uploads/1?state=x", self.address),
            ),
            ("PUT", "/blobs/uploads/") => {
                let digest = self::named(&asked.body);
                if !query.contains(&digest) {
                    return Answer::new(400, r#"{"errors": [{"code": "DIGEST_INVALID"}]}"#);
                }
                kept.bytes.insert(digest, asked.body.clone());
                Answer::new(201, "")
            }
            ("PUT", "/manifests/") => {
                let kind = asked.headers.get("content-type").map_or(MANIFEST, String::as_str);
                let digest = kept.put(repository, named, kind, &asked.body);
                let manifest: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
                let answer = Answer::new(201, "").with("docker-content-digest", digest);
                match manifest["subject"]["digest"].as_str() {
                    Some(subject) if self.lists => answer.with("oci-subject", subject),
                    _ => answer,
                }
            }
            _ => Answer::new(404, "404 page not found"),
        }
    }
}

fn missing(code: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": "unknown"}]});
    Answer::new(404, body.to_string()).with("content-type", "application/json")
}

fn named(bytes: &[u8]) -> String {
    format!("sha256:{}", digest(bytes))
}

fn read(stream: &TcpStream) -> io::Result<Asked> {
    let (head, body) = server::read(stream)?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Ok(Asked { method, path, headers, body })
}

fn write(mut stream: &TcpStream, asked: &Asked, answer: &Answer) -> io::Result<()> {
    if let Then::Stalls(time) = answer.then {
        std::thread::sleep(time);
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let says_length = answer.headers.iter().any(|(name, _)| *name == "content-length");
    if answer.then == Then::Ends && !says_length {
        head += &format!("content-length: {}\r\n", answer.body.len());
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if asked.method == "HEAD" {
        return Ok(());
    }
    stream.write_all(&answer.body)?;
    // Until nobody reads any more.
    if answer.then == Then::Endless {
        loop {
            stream.write_all(&answer.body)?;
        }
    }
    stream.flush()
}
