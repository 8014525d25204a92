//! Data sets of the Hub, from a server on this machine that speaks its protocol.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use host_data::hub::{Located, locate_at};
use host_files::sha256;
use host_model::HubAccess;
use serde_json::{Value, json};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ROW: &str = "{\"prompt\":\"Hello?\",\"answer\":\"Yes.\"}\n";

/// Serves one data set, org/rows, of these files.
struct Server {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
    cache: tempfile::TempDir,
}

impl Server {
    fn start(files: &[(&str, &str)], configs: &Value, token: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let files: BTreeMap<String, String> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let (told, configs) = (asked.clone(), configs.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some((path, authorization)) = request(&stream) else { continue };
                let expected = token.map(|token| format!("Bearer {token}"));
                let (status, body) = if expected.is_some() && authorization != expected {
                    ("401 Unauthorized", Vec::new())
                } else {
                    answer(&files, &configs, &path)
                };
                told.lock().unwrap().push(path);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                );
                let _ = (&stream).write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { endpoint, asked, cache: tempfile::tempdir().unwrap() }
    }

    fn access(&self) -> HubAccess {
        HubAccess {
            endpoint: Some(self.endpoint.clone()),
            cache: Some(self.cache.path().to_owned()),
            ..HubAccess::default()
        }
    }

    fn names(&self, name: &str) -> Vec<String> {
        let found = locate_at(Path::new(name), &self.access()).unwrap();
        found.iter().map(|file| file.name.display().to_string()).collect()
    }

    fn refused(name: &str, access: &HubAccess) -> String {
        let message = locate_at(Path::new(name), access).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }

    fn count(&self, part: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains(part)).count()
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

fn answer(
    files: &BTreeMap<String, String>,
    configs: &Value,
    path: &str,
) -> (&'static str, Vec<u8>) {
    if let Some(revision) = path.strip_prefix("/api/datasets/org/rows/revision/") {
        if !["main", "v1", COMMIT].contains(&revision) {
            return ("404 Not Found", Vec::new());
        }
        let file = |(name, text): (&String, &String)| {
            let lfs = json!({ "sha256": sha256::hex(text), "size": text.len() });
            json!({ "rfilename": name, "size": text.len(), "lfs": lfs })
        };
        let siblings: Vec<Value> = files.iter().map(file).collect();
        let card = json!({ "configs": configs });
        let described = json!({ "sha": COMMIT, "siblings": siblings, "cardData": card });
        return ("200 OK", described.to_string().into_bytes());
    }
    let name = path.strip_prefix(&format!("/datasets/org/rows/resolve/{COMMIT}/"));
    match name.and_then(|name| files.get(name)) {
        Some(text) => ("200 OK", text.clone().into_bytes()),
        None => ("404 Not Found", Vec::new()),
    }
}

const FILES: &[(&str, &str)] = &[
    ("README.md", "not wanted"),
    ("data/train-00000-of-00002.jsonl", ROW),
    ("data/train-00001-of-00002.jsonl", ROW),
    ("data/test-00000-of-00001.jsonl", ROW),
];

#[test]
fn a_split_is_fetched_once_by_its_commit() {
    let server = Server::start(FILES, &Value::Null, None);
    let expected: Vec<String> = (0..2)
        .map(|at| format!("org/rows@0123456789ab:data/train-0000{at}-of-00002.jsonl"))
        .collect();
    assert_eq!(server.names("org/rows@v1"), expected);
    assert_eq!(server.count("/resolve/"), 2, "neither the card nor the other split");
    assert_eq!(server.names("hf:datasets/org/rows"), expected);
    assert_eq!((server.count("/resolve/"), server.count("/api/")), (2, 2));
    // A commit stays what it is: nobody is asked again.
    assert_eq!(server.names(&format!("org/rows@{COMMIT}")), expected);
    assert_eq!(server.count("/api/"), 2);
    assert_eq!(server.names("org/rows:test").len(), 1);
    let found = locate_at(Path::new("org/rows:data/test-00000-of-00001.jsonl"), &server.access());
    let [Located { path, .. }] = found.unwrap().try_into().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), ROW);
    assert!(
        path.starts_with(server.cache.path().join("datasets--org--rows/snapshots").join(COMMIT))
    );
}

#[test]
fn what_was_fetched_is_there_without_a_network() {
    let server = Server::start(FILES, &Value::Null, None);
    let offline = HubAccess { offline: true, ..server.access() };
    assert!(Server::refused("org/rows", &offline).contains("HF_HUB_OFFLINE"));
    let online = server.names("org/rows");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = HubAccess { endpoint: Some(format!("http://{gone}")), ..server.access() };
    for access in [&offline, &unreachable] {
        let found = locate_at(Path::new("org/rows"), access).unwrap();
        assert_eq!(
            found.iter().map(|it| it.name.display().to_string()).collect::<Vec<_>>(),
            online
        );
    }
    // Known, and not fetched.
    let message = Server::refused("org/rows:test", &offline);
    assert!(message.contains("test-00000-of-00001.jsonl is not in the local cache"), "{message}");
}

#[test]
fn a_card_chooses_and_what_is_ambiguous_names_the_choices() {
    let configs = json!([
        { "config_name": "main", "data_files": [{ "split": "train", "path": "data/train-*" }] },
        { "config_name": "tests", "data_files": "data/test-*" },
    ]);
    let server = Server::start(FILES, &configs, None);
    assert_eq!(server.names("org/rows:main/train").len(), 2);
    assert_eq!(server.names("org/rows:tests/train").len(), 1);
    let message = Server::refused("org/rows", &server.access());
    assert!(
        message.contains("several configurations") && message.contains("main, tests"),
        "{message}"
    );
    let message = Server::refused("org/rows:main/dev", &server.access());
    assert!(message.contains("no split dev") && message.contains("it has train"), "{message}");
}

#[test]
fn what_the_hub_refuses_is_explained() {
    let server = Server::start(FILES, &Value::Null, Some("secret"));
    let message = Server::refused("org/rows", &server.access());
    assert!(message.contains("no such data set") && message.contains("HF_TOKEN"), "{message}");
    let access = HubAccess { token: Some("secret".into()), ..server.access() };
    assert_eq!(locate_at(Path::new("org/rows"), &access).unwrap().len(), 2);
    assert!(Server::refused("org/rows@absent", &access).contains("no such data set or revision"));
    assert!(Server::refused("org/other", &access).contains("org/other@main"));
    assert!(Server::refused("org/rows:no.csv", &access).contains("no file no.csv"));
}

#[test]
fn files_with_names_that_lead_elsewhere_are_left_out() {
    let files = &[("../train.jsonl", ROW), ("a/../../train.jsonl", ROW), ("train.jsonl", ROW)];
    let server = Server::start(files, &Value::Null, None);
    assert_eq!(server.names("org/rows"), ["org/rows@0123456789ab:train.jsonl"]);
    assert!(Server::refused("org/rows:../train.jsonl", &server.access()).contains("no file"));
}
