//! Models of the Hub, from a server on this machine that speaks its protocol.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use host_model::{HubAccess, LoadOptions, Source, load};
use serde_json::json;

use crate::tiny;

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves one model, org/tiny, whose branch `main` and tag `v1` are [`COMMIT`].
struct Server {
    endpoint: String,
    downloads: Arc<AtomicUsize>,
    authorization: Arc<Mutex<Option<String>>>,
    gated: Arc<AtomicBool>,
}

impl Server {
    fn start(model: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            downloads: Arc::default(),
            authorization: Arc::default(),
            gated: Arc::default(),
        };
        let folder = model.to_owned();
        let (downloads, authorization, gated) =
            (server.downloads.clone(), server.authorization.clone(), server.gated.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, downloads) = (folder.clone(), downloads.clone());
                let (authorization, gated) = (authorization.clone(), gated.clone());
                std::thread::spawn(move || {
                    let Some(request) = Request::read(&stream) else {
                        return;
                    };
                    if request.authorization.is_some() {
                        *authorization.lock().unwrap() = request.authorization.clone();
                    }
                    let answer = if gated.load(Ordering::SeqCst) {
                        Answer::error("403 Forbidden")
                    } else {
                        answer(&folder, &request)
                    };
                    let is_download = request.path.contains("/resolve/");
                    downloads.fetch_add(usize::from(is_download), Ordering::SeqCst);
                    answer.write(&stream, request.method == "HEAD");
                });
            }
        });
        server
    }

    fn access(&self, cache: &Path) -> HubAccess {
        HubAccess {
            endpoint: Some(self.endpoint.clone()),
            cache: Some(cache.to_owned()),
            ..HubAccess::default()
        }
    }
}

pub struct Request {
    method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<(usize, Option<usize>)>,
}

impl Request {
    pub fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next()?.ok()?;
        let (method, rest) = first.split_once(' ')?;
        let path = rest.split([' ', '?']).next()?.to_owned();
        let (mut authorization, mut range) = (None, None);
        for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("authorization") {
                authorization = Some(value.trim().to_owned());
            }
            let range_of = name.eq_ignore_ascii_case("range").then_some(value.trim());
            if let Some((first, last)) =
                range_of.and_then(|it| it.strip_prefix("bytes=")?.split_once('-'))
            {
                range = Some((first.parse().ok()?, last.parse().ok()));
            }
        }
        Some(Self { method: method.to_owned(), path, authorization, range })
    }
}

struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn json(value: serde_json::Value) -> Self {
        Self { status: "200 OK", headers: vec![], body: value.to_string().into_bytes() }
    }

    fn error(status: &'static str) -> Self {
        Self { status, headers: vec![], body: vec![] }
    }

    fn write(self, mut stream: &TcpStream, head_only: bool) {
        let mut head = format!(
            "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let _ = stream.write_all(format!("{head}\r\n").as_bytes());
        if !head_only {
            let _ = stream.write_all(&self.body);
        }
    }
}

fn answer(folder: &Path, request: &Request) -> Answer {
    let Some(rest) = request.path.strip_prefix("/api/models/org/tiny/revision/") else {
        let Some(rest) = request.path.strip_prefix("/org/tiny/resolve/") else {
            return Answer::error("404 Not Found");
        };
        let (revision, name) = rest.split_once('/').unwrap();
        // Files are asked for by the commit, so that a push in between changes nothing.
        assert_eq!(revision, COMMIT);
        return file(&folder.join(name), request.range);
    };
    if !["main", "v1", "refs%2Fpr%2F1", COMMIT].contains(&rest) {
        return Answer::error("404 Not Found");
    }
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let siblings: Vec<_> = names.into_iter().map(|name| json!({ "rfilename": name })).collect();
    Answer::json(json!({ "id": "org/tiny", "sha": COMMIT, "siblings": siblings }))
}

/// The file from `range.0` to `range.1`, as the Hub answers requests for ranges.
fn file(path: &Path, range: Option<(usize, Option<usize>)>) -> Answer {
    let Ok(whole) = std::fs::read(path) else {
        return Answer::error("404 Not Found");
    };
    let sum = whole.iter().fold(0u64, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(*b)));
    let (first, last) = range.unwrap_or((0, None));
    let last = last.unwrap_or(whole.len() - 1).min(whole.len() - 1);
    Answer {
        status: "206 Partial Content",
        headers: vec![
            ("ETag", format!("\"{sum:016x}\"")),
            ("X-Repo-Commit", COMMIT.to_owned()),
            ("Content-Range", format!("bytes {first}-{last}/{}", whole.len())),
        ],
        body: whole[first..=last].to_vec(),
    }
}

pub fn source(text: &str) -> Source {
    Source::parse(text).unwrap()
}

pub fn options(hub: HubAccess) -> LoadOptions {
    LoadOptions { hub, ..LoadOptions::default() }
}

pub fn refused(text: &str, hub: HubAccess) -> String {
    let message = load(&source(text), &options(hub)).err().expect("loaded").to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

pub fn model_folder() -> tempfile::TempDir {
    let dir = tiny::folder("llama");
    std::fs::write(dir.path().join("photo.png"), b"not wanted").unwrap();
    dir
}

#[test]
fn a_model_is_fetched_once_and_its_commit_recorded() {
    let (folder, cache) = (model_folder(), tempfile::tempdir().unwrap());
    let server = Server::start(folder.path());
    let model = load(&source("org/tiny@v1"), &options(server.access(cache.path()))).unwrap();
    assert_eq!(model.name, "org/tiny");
    assert_eq!(model.revision.as_deref(), Some(COMMIT));
    let local =
        load(&Source::Directory(folder.path().to_owned()), &LoadOptions::default()).unwrap();
    assert_eq!(model.digest, local.digest);
    let fetched = server.downloads.load(Ordering::SeqCst);
    assert_eq!(fetched, 4, "config, weights, tokenizer, tokenizer configuration; not the picture");
    load(&source(&format!("org/tiny@{COMMIT}")), &options(server.access(cache.path()))).unwrap();
    assert_eq!(server.downloads.load(Ordering::SeqCst), fetched);
}

#[test]
fn the_cache_serves_when_offline_and_when_the_server_is_gone() {
    let (folder, cache) = (model_folder(), tempfile::tempdir().unwrap());
    let server = Server::start(folder.path());
    let offline = HubAccess { offline: true, ..server.access(cache.path()) };
    let message = refused("org/tiny", offline.clone());
    assert!(message.contains("org/tiny") && message.contains("HF_HUB_OFFLINE"), "{message}");
    load(&source("org/tiny"), &options(server.access(cache.path()))).unwrap();
    load(&source("org/tiny"), &options(offline)).unwrap();
    // Nothing listens on a port that was just given back.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable =
        HubAccess { endpoint: Some(format!("http://{gone}")), ..server.access(cache.path()) };
    load(&source("org/tiny"), &options(unreachable.clone())).unwrap();
    let nothing = tempfile::tempdir().unwrap();
    let message =
        refused("org/tiny", HubAccess { cache: Some(nothing.path().to_owned()), ..unreachable });
    assert!(message.contains("check the network and HF_ENDPOINT"), "{message}");
}

#[test]
fn what_the_hub_refuses_is_explained() {
    let (folder, cache) = (model_folder(), tempfile::tempdir().unwrap());
    let server = Server::start(folder.path());
    let access = server.access(cache.path());
    assert!(refused("org/tiny@absent", access.clone()).contains("no such model or revision"));
    assert!(refused("org/other", access.clone()).contains("org/other@main"));
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert!(refused("org/tiny", access.clone()).contains("tokenizer.json: is missing"));
    server.gated.store(true, Ordering::SeqCst);
    assert!(refused("org/tiny", access).contains("HF_TOKEN"));
}

/// Run by the test below in a process of its own, because the environment belongs to all threads.
#[test]
#[ignore = "runs inside another test"]
fn child_that_loads_by_the_environment_alone() {
    let model = load(&source("org/tiny"), &LoadOptions::default()).unwrap();
    println!("commit {}", model.revision.unwrap());
}

#[test]
fn the_usual_environment_variables_decide() {
    let (folder, home) = (model_folder(), tempfile::tempdir().unwrap());
    let server = Server::start(folder.path());
    let child = |offline: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                "hub::child_that_loads_by_the_environment_alone",
            ])
            .env_remove("HF_HUB_CACHE")
            .env_remove("HUGGINGFACE_HUB_CACHE")
            .env("HF_ENDPOINT", &server.endpoint)
            .env("HF_HOME", home.path())
            .env("HF_TOKEN", "secret")
            .env("HF_HUB_OFFLINE", offline)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(!child("1").contains(COMMIT));
    assert!(child("0").contains(&format!("commit {COMMIT}")));
    assert_eq!(server.authorization.lock().unwrap().as_deref(), Some("Bearer secret"));
    let snapshot: PathBuf =
        ["hub", "models--org--tiny", "snapshots", COMMIT, "config.json"].iter().collect();
    assert!(home.path().join(snapshot).is_file());
    assert!(child("1").contains(COMMIT));
}
