//! What was exported, sent to a server on this machine that speaks the Hub's protocol.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host_model::HubAccess;
use host_model::load::hub::push::{Pushed, files, push};
use serde_json::{Value, json};

use crate::hub::COMMIT;
use crate::push_server::{Answer, Asked, Server, ok};

/// Bytes that the store takes at once.
const PART: usize = 1000;
const LFS: &str = "application/vnd.git-lfs+json";

/// Takes files at two addresses: whole ones, and parts, which it confirms.
fn store() -> Server {
    Server::start(|asked| (200, vec![("ETag", format!("\"{}\"", asked.path))], vec![]))
}

/// Speaks the Hub's protocol; large files go to `store`.
fn hub(store: &str, known: Vec<String>) -> Server {
    let store = store.to_owned();
    Server::start(move |asked| match asked.path.as_str() {
        "/api/repos/create" => (409, vec![], vec![]),
        "/api/models/org/x/preupload/main" => {
            let request = asked.json();
            let mode = |file: &Value| {
                let path = file["path"].as_str().unwrap();
                let is_large = path.ends_with(".safetensors") || path.ends_with(".gguf");
                json!({ "path": path, "uploadMode": if is_large { "lfs" } else { "regular" } })
            };
            let modes: Vec<Value> = request["files"].as_array().unwrap().iter().map(mode).collect();
            ok(&json!({ "files": modes }))
        }
        "/org/x.git/info/lfs/objects/batch" => {
            let request = asked.json();
            let object = |object: &Value| {
                let (oid, size) =
                    (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap());
                if known.iter().any(|known| known == oid) {
                    return json!({ "oid": oid, "size": size });
                }
                let parts = (size as usize).div_ceil(PART);
                let mut upload = json!({ "href": format!("{store}/{oid}") });
                if parts > 1 {
                    upload["header"] = json!({ "chunk_size": PART.to_string() });
                    for number in 1..=parts {
                        upload["header"][format!("{number:05}")] =
                            json!(format!("{store}/{oid}/{number}"));
                    }
                }
                let verify = json!({ "href": format!("http://{}/verify", asked.headers["host"]) });
                json!({ "oid": oid, "size": size, "actions": { "upload": upload, "verify": verify } })
            };
            let objects: Vec<Value> =
                request["objects"].as_array().unwrap().iter().map(object).collect();
            ok(&json!({ "transfer": "multipart", "objects": objects }))
        }
        "/verify" => ok(&json!({})),
        "/api/models/org/x/commit/main" => ok(&json!({ "success": true, "commitOid": COMMIT })),
        _ => (404, vec![], vec![]),
    })
}

/// A folder as an export leaves it, and a file beside it.
fn exported() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("out");
    fs::create_dir_all(folder.join("additional_chat_templates")).unwrap();
    let large: Vec<u8> = (0..2 * PART + 7).map(|i| (i % 251) as u8).collect();
    for (name, bytes) in [
        ("README.md", &b"# card\n"[..]),
        ("adapter_config.json", b"{}"),
        ("adapter_model.safetensors", &large),
        ("tokenizer.json", "{\"ä\": 1}".as_bytes()),
        ("additional_chat_templates/tool_use.jinja", b"x"),
    ] {
        fs::write(folder.join(name), bytes).unwrap();
    }
    fs::write(dir.path().join("m.gguf"), b"GGUF").unwrap();
    fs::write(dir.path().join("m.Modelfile"), b"FROM ./m.gguf").unwrap();
    dir
}

fn send(dir: &Path, access: &HubAccess) -> Result<Pushed, String> {
    let written = ["out", "m.gguf", "m.Modelfile"].map(|name| dir.join(name));
    let files = files(&written).map_err(|error| error.to_string())?;
    push("org/x", &files, false, access).map_err(|error| error.to_string())
}

#[test]
fn all_files_arrive_in_one_commit_and_the_token_stays_with_the_hub() {
    let dir = exported();
    let store = store();
    let hub = hub(&store.endpoint, vec![]);
    let pushed = send(dir.path(), &hub.access()).unwrap();
    assert_eq!(pushed.commit, COMMIT);
    assert_eq!(pushed.url, format!("{}/org/x/tree/{COMMIT}", hub.endpoint));
    let asked = hub.asked();
    assert!(asked.iter().all(|one| one.headers["authorization"] == "Bearer secret"));
    let created = asked[0].json();
    assert_eq!((&created["private"], &created["name"]), (&json!(true), &json!("x")));
    let batch = asked.iter().find(|one| one.path.ends_with("/batch")).unwrap();
    assert_eq!(
        (batch.headers["accept"].as_str(), batch.headers["content-type"].as_str()),
        (LFS, LFS)
    );
    let commit = asked.last().unwrap();
    assert_eq!(commit.headers["content-type"], "application/x-ndjson");
    let lines = commit.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(lines[0]["key"], "header");
    let mut names = Vec::new();
    let received = store.asked();
    for line in &lines[1..] {
        let value = &line["value"];
        let name = value["path"].as_str().unwrap();
        names.push(name);
        let beside = dir.path().join(name);
        let path = if beside.exists() { beside } else { dir.path().join("out").join(name) };
        let bytes = fs::read(path).unwrap();
        if line["key"] == "file" {
            assert_eq!(
                STANDARD.decode(value["content"].as_str().unwrap()).unwrap(),
                bytes,
                "{name}"
            );
            continue;
        }
        assert_eq!(line["key"], "lfsFile");
        let oid = value["oid"].as_str().unwrap();
        assert_eq!(
            (oid, &value["size"]),
            (host_files::sha256::hex(&bytes).as_str(), &json!(bytes.len()))
        );
        let puts = received.iter().filter(|one| one.method == "PUT" && one.path.contains(oid));
        let stored: Vec<u8> = puts.flat_map(|one| one.body.clone()).collect();
        assert_eq!(stored, bytes, "{name}");
    }
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "additional_chat_templates/tool_use.jinja",
            "m.Modelfile",
            "m.gguf",
            "tokenizer.json"
        ]
    );
    assert!(received.iter().all(|one| !one.headers.contains_key("authorization")));
    let done = received.iter().find(|one| one.method == "POST").unwrap().json();
    assert_eq!(done["parts"].as_array().unwrap().len(), 3);
    assert_eq!(done["parts"][2]["partNumber"], 3);
    assert!(done["parts"][2]["etag"].as_str().unwrap().ends_with("/3\""), "{done}");
    assert_eq!(asked.iter().filter(|one| one.path == "/verify").count(), 2);
}

#[test]
fn what_the_store_has_already_is_not_sent_again() {
    let dir = exported();
    let store = store();
    let known = ["out/adapter_model.safetensors", "m.gguf"]
        .map(|name| host_files::sha256::file(&dir.path().join(name)).unwrap());
    let hub = hub(&store.endpoint, known.to_vec());
    send(dir.path(), &hub.access()).unwrap();
    assert!(store.asked().is_empty());
}

#[test]
fn a_folder_with_anything_else_in_it_is_not_sent() {
    let never = Server::start(|_| (500, vec![], vec![]));
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 6] = [
        ("host.key", |out| fs::write(out.join("host.key"), "secret").unwrap()),
        ("task.jsonl", |out| fs::write(out.join("task.jsonl"), "{}").unwrap()),
        (".hidden.gguf", |out| fs::write(out.join(".hidden.gguf"), "x").unwrap()),
        ("journal", |out| fs::create_dir(out.join("journal")).unwrap()),
        ("a\\nb.gguf", |out| fs::write(out.join("a\nb.gguf"), "x").unwrap()),
        ("config.json", |out| {
            std::os::unix::fs::symlink("/etc/passwd", out.join("config.json")).unwrap();
        }),
    ];
    for (name, spoil) in spoils {
        let dir = exported();
        spoil(&dir.path().join("out"));
        let message = send(dir.path(), &never.access()).unwrap_err();
        assert!(message.contains("nothing that an export writes"), "{name}: {message}");
    }
    let dir = exported();
    fs::write(dir.path().join("out/m.gguf"), "x").unwrap();
    let message = send(dir.path(), &never.access()).unwrap_err();
    assert!(message.contains("has the name of another file"), "{message}");
    let without = HubAccess { token: None, ..never.access() };
    let message = send(exported().path(), &without).unwrap_err();
    assert!(message.contains("no token") && message.contains("HF_TOKEN"), "{message}");
    let offline = HubAccess { offline: true, ..never.access() };
    assert!(send(exported().path(), &offline).unwrap_err().contains("HF_HUB_OFFLINE"));
    assert!(never.asked().is_empty());
}

#[test]
fn a_hub_that_answers_anything_else_is_named() {
    let dir = exported();
    type Reply = fn(&Asked) -> Answer;
    let replies: [(Reply, &str); 13] = [
        (|_| (401, vec![], vec![]), "the token isn't accepted; set HF_TOKEN"),
        (|_| (403, vec![], vec![]), "may not write there"),
        (
            |_| (400, vec![], vec![]),
            "status 400; what was exported is whole: push it later with --exported",
        ),
        (|asked| at(asked, "/commit/", 409), "another commit was made there at the same time; "),
        (|asked| at(asked, "/commit/", 412), "push it again with --exported"),
        (|asked| at(asked, "/commit/", 413), "takes no files that large; export in fewer bits"),
        (
            |asked| match asked.path.as_str() {
                "/org/x.git/info/lfs/objects/batch" => {
                    let request = asked.json();
                    let objects = request["objects"].as_array().unwrap().iter();
                    let refused = objects.map(|object| {
                        let error = json!({ "code": 422, "message": "too\nlarge\u{1b}[8m" });
                        json!({ "oid": object["oid"], "error": error })
                    });
                    ok(&json!({ "objects": refused.collect::<Vec<_>>() }))
                }
                _ => modes(asked, "lfs"),
            },
            "refuses README.md, 7 bytes (too",
        ),
        (|_| (302, vec![("Location", "http://192.0.2.1/".into())], vec![]), "status 302"),
        (|_| (200, vec![], b"no json".to_vec()), "describes modes in no known form"),
        (|_| ok(&json!({ "files": [] })), "doesn't say how it takes README.md"),
        (|_| (200, vec![], vec![b' '; 17 << 20]), "sends more than the"),
        (
            |asked| match asked.path.as_str() {
                "/org/x.git/info/lfs/objects/batch" => {
                    let object = |object: &Value| {
                        json!({ "oid": object["oid"], "actions": {
                        "upload": { "href": "http://192.0.2.1/x" } } })
                    };
                    let request = asked.json();
                    let objects = request["objects"].as_array().unwrap().iter().map(object);
                    ok(&json!({ "objects": objects.collect::<Vec<_>>() }))
                }
                _ => modes(asked, "lfs"),
            },
            "is not reached by https (http://192.0.2.1)",
        ),
        (
            |asked| match asked.path.as_str() {
                "/api/models/org/x/commit/main" => ok(&json!({ "commitOid": "../../x\u{1b}[8m" })),
                _ => modes(asked, "regular"),
            },
            "as a commit",
        ),
    ];
    for (reply, words) in replies {
        let server = Server::start(reply);
        let message = send(dir.path(), &server.access()).unwrap_err();
        assert!(message.contains(words) && message.contains("org/x"), "{words}: {message}");
        assert!(!message.contains(['\n', '\u{1b}']), "{message}");
        assert!(!message.contains("secret"), "{message}");
        let committed = server.asked().iter().any(|one| one.path.contains("/commit/"));
        let asked_to = ["as a commit", "another commit", "push it again", "takes no files"];
        assert_eq!(committed, asked_to.iter().any(|asked| words.starts_with(asked)), "{words}");
    }
}

/// A status at one address, and what it takes to get there.
fn at(asked: &Asked, path: &str, status: u16) -> Answer {
    if asked.path.contains(path) { (status, vec![], vec![]) } else { modes(asked, "regular") }
}

#[test]
fn a_hub_that_is_gone_is_told_in_one_line_and_nothing_is_lost() {
    let dir = exported();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = Some(format!("http://{gone}"));
    let access = HubAccess { endpoint, ..Server::start(|_| (500, vec![], vec![])).access() };
    let message = send(dir.path(), &access).unwrap_err();
    assert!(message.contains("can't be reached") && message.contains("--exported"), "{message}");
    assert!(!message.contains(['\n', '\u{1b}']), "{message}");
    assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 5);
}

/// Such a token may write to one repository, and make none.
#[test]
fn a_token_that_may_not_make_repositories_writes_to_the_one_that_is_there() {
    let dir = exported();
    let may = |is_there: bool| {
        Server::start(move |asked| match asked.path.as_str() {
            "/api/repos/create" => (403, vec![], vec![]),
            path if path.starts_with("/api/models/org/x/revision/main") && is_there => {
                ok(&json!({ "sha": COMMIT }))
            }
            path if path.contains("/revision/") => (404, vec![], vec![]),
            "/api/models/org/x/commit/main" => ok(&json!({ "commitOid": COMMIT })),
            _ => modes(asked, "regular"),
        })
    };
    assert_eq!(send(dir.path(), &may(true).access()).unwrap().commit, COMMIT);
    let message = send(dir.path(), &may(false).access()).unwrap_err();
    assert!(message.contains("may not write there"), "{message}");
}

fn modes(asked: &Asked, mode: &str) -> Answer {
    if !asked.path.contains("preupload") {
        return ok(&json!({}));
    }
    let request = asked.json();
    let files = request["files"].as_array().unwrap().iter();
    let files: Vec<Value> =
        files.map(|file| json!({ "path": file["path"], "uploadMode": mode })).collect();
    ok(&json!({ "files": files }))
}
