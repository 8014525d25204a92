//! Data sets of the Hub, from a server on this machine that speaks its protocol.
#![allow(clippy::unwrap_used)]

mod fake_hub;

use std::net::TcpListener;
use std::path::Path;

use fake_hub::{COMMIT, FakeHub, NEXT_COMMIT};
use host_data::hub::{Located, locate_at};
use host_model::HubAccess;
use serde_json::{Value, json};

const ROW: &str = "{\"prompt\":\"Hello?\",\"answer\":\"Yes.\"}\n";

/// The server, and a cache of its own.
struct Server {
    hub: FakeHub,
    cache: tempfile::TempDir,
}

impl Server {
    fn start(files: &[(&str, &str)], configs: &Value, token: Option<&'static str>) -> Self {
        Self { hub: FakeHub::start(files, configs, token), cache: tempfile::tempdir().unwrap() }
    }

    fn access(&self) -> HubAccess {
        HubAccess {
            endpoint: Some(self.hub.endpoint.clone()),
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
        self.hub.count(part)
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
fn a_commit_is_what_it_was_after_its_branch_has_moved() {
    let server = Server::start(&[("train.jsonl", ROW)], &Value::Null, None);
    let pinned = format!("org/rows@{COMMIT}");
    let before = server.names(&pinned);
    server.hub.commit(NEXT_COMMIT, &[("train.jsonl", &ROW.repeat(2))]);
    assert_eq!(server.names(&pinned), before);
    assert_eq!(server.names("org/rows"), ["org/rows@fedcba987654:train.jsonl"]);
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
