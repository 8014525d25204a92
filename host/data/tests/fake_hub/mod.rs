//! A server on this machine that speaks the Hub's protocol, with one data set: org/rows.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use host_files::sha256;
use serde_json::{Value, json};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const NEXT_COMMIT: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// By their names.
type Files = BTreeMap<String, String>;

/// What the server has, and what it was asked.
#[derive(Default)]
struct Held {
    /// Of each commit; the branch is at the last.
    commits: Vec<(&'static str, Files)>,
    configs: Value,
    token: Option<&'static str>,
    asked: Vec<String>,
}

pub struct FakeHub {
    pub endpoint: String,
    held: Arc<Mutex<Held>>,
}

impl FakeHub {
    /// With these files in its first commit. `token` is what it has to be shown.
    pub fn start(files: &[(&str, &str)], configs: &Value, token: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let held = Held { configs: configs.clone(), token, ..Held::default() };
        let held = Arc::new(Mutex::new(held));
        let hub = Self { endpoint, held: Arc::clone(&held) };
        hub.commit(COMMIT, files);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some((path, authorization)) = request(&stream) else { continue };
                let (status, body) = held.lock().unwrap().answer(path, authorization);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                );
                let _ = (&stream).write_all(&[head.as_bytes(), &body].concat());
            }
        });
        hub
    }

    /// Moves the branch on.
    pub fn commit(&self, commit: &'static str, files: &[(&str, &str)]) {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        self.held.lock().unwrap().commits.push((commit, files.collect()));
    }

    /// How often it was asked for what has this in its path.
    pub fn count(&self, part: &str) -> usize {
        self.held.lock().unwrap().asked.iter().filter(|path| path.contains(part)).count()
    }
}

fn request(stream: &TcpStream) -> Option<(String, Option<String>)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split([' ', '?']).nth(1)?.to_owned();
    let mut authorization = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.trim().to_owned());
        }
    }
    Some((path, authorization))
}

impl Held {
    fn answer(&mut self, path: String, authorization: Option<String>) -> (&'static str, Vec<u8>) {
        let expected = self.token.map(|token| format!("Bearer {token}"));
        let answer = if expected.is_some() && authorization != expected {
            ("401 Unauthorized", Vec::new())
        } else {
            self.found(&path).map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body))
        };
        self.asked.push(path);
        answer
    }

    fn found(&self, path: &str) -> Option<Vec<u8>> {
        let of = |name: &str| self.commits.iter().find(|(commit, _)| *commit == name);
        if let Some(revision) = path.strip_prefix("/api/datasets/org/rows/revision/") {
            let branch = ["main", "v1"].contains(&revision);
            let (commit, files) = if branch { self.commits.last() } else { of(revision) }?;
            let file = |(name, text): (&String, &String)| {
                let lfs = json!({ "sha256": sha256::hex(text), "size": text.len() });
                json!({ "rfilename": name, "size": text.len(), "lfs": lfs })
            };
            let siblings: Vec<Value> = files.iter().map(file).collect();
            let card = json!({ "configs": self.configs });
            let described = json!({ "sha": commit, "siblings": siblings, "cardData": card });
            return Some(described.to_string().into_bytes());
        }
        let (commit, name) = path.strip_prefix("/datasets/org/rows/resolve/")?.split_once('/')?;
        of(commit)?.1.get(name).map(|text| text.clone().into_bytes())
    }
}
