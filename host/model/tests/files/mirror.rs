//! Mirrors of the Hub that want to harm whoever fetches a model from them.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use host_model::{HubAccess, load};
use serde_json::{Value, json};

use crate::hub::{COMMIT, Request, model_folder, options, refused, source};

/// What a mirror does with a request and its connection.
type Handler = dyn Fn(&Request, &mut TcpStream) + Send + Sync;

/// Paths that were asked for, and the token that came with each.
type Asked = Vec<(String, Option<String>)>;

struct Mirror {
    endpoint: String,
    asked: Arc<Mutex<Asked>>,
}

impl Mirror {
    fn start(handler: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Asked>> = Arc::default();
        let (handler, told): (Arc<Handler>, _) = (Arc::new(handler), asked.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (handler, told) = (handler.clone(), told.clone());
                std::thread::spawn(move || {
                    let Some(request) = Request::read(&stream) else { return };
                    let seen = (request.path.clone(), request.authorization.clone());
                    told.lock().unwrap().push(seen);
                    handler(&request, &mut stream);
                });
            }
        });
        Self { endpoint, asked }
    }

    /// One that describes `folder` as the Hub does and hands the requests for files to `file`, with the bytes.
    fn of(
        folder: &Path,
        file: impl Fn(&str, &[u8], &Request, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let folder = folder.to_owned();
        Self::start(move |request, stream| match request.path.rsplit_once(COMMIT) {
            Some((_, name)) if request.path.contains("/resolve/") => {
                let name = name.trim_start_matches('/');
                file(name, &fs::read(folder.join(name)).unwrap_or_default(), request, stream);
            }
            _ => reply(stream, "200 OK", &[], described(&folder).to_string().as_bytes()),
        })
    }

    fn access(&self, cache: &Path) -> HubAccess {
        HubAccess {
            endpoint: Some(self.endpoint.clone()),
            cache: Some(cache.to_owned()),
            token: Some("secret".into()),
            patience: Some(Duration::from_secs(1)),
            ..HubAccess::default()
        }
    }
}

fn described(folder: &Path) -> Value {
    let file = |entry: fs::DirEntry| {
        let bytes = fs::read(entry.path()).unwrap();
        let digest = host_files::sha256::hex(&bytes);
        let name = entry.file_name().into_string().unwrap();
        json!({ "rfilename": name, "size": bytes.len(), "lfs": { "sha256": digest, "size": bytes.len() } })
    };
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap())).collect();
    json!({ "sha": COMMIT, "siblings": files })
}

fn head(stream: &mut TcpStream, status: &str, headers: &[(&str, String)]) {
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let _ = write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n{lines}\r\n");
}

fn reply(stream: &mut TcpStream, status: &str, headers: &[(&str, String)], body: &[u8]) {
    let length = ("Content-Length", body.len().to_string());
    head(stream, status, &[headers, &[length]].concat());
    let _ = stream.write_all(body);
}

/// Every file and link below a folder.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |path: PathBuf| {
        if path.is_dir() && !path.is_symlink() { tree(&path) } else { vec![path] }
    };
    entries.flat_map(|entry| below(entry.path())).collect()
}

/// Fetches org/tiny, which must fail, and returns the message and how long it took.
fn fails(access: HubAccess) -> (String, Duration) {
    let start = Instant::now();
    (refused("org/tiny", access), start.elapsed())
}

#[test]
fn nothing_that_a_mirror_says_becomes_a_path() {
    let (folder, home) = (model_folder(), tempfile::tempdir().unwrap());
    let victim = home.path().join(".bashrc");
    fs::write(&victim, "mine").unwrap();
    let mirror = Mirror::of(folder.path(), |_, bytes, _, stream| {
        let tag = "\"../../../.bashrc\"".to_owned();
        let commit = "../../../..".to_owned();
        let headers = [("ETag", tag.clone()), ("X-Linked-Etag", tag), ("X-Repo-Commit", commit)];
        reply(stream, "200 OK", &headers, bytes);
    });
    let cache = home.path().join("a/hub");
    load(&source("org/tiny"), &options(mirror.access(&cache))).unwrap();
    let blobs = tree(&cache.join("models--org--tiny/blobs"));
    assert_eq!(blobs.len(), 4);
    for blob in &blobs {
        let name = blob.file_name().unwrap().to_str().unwrap();
        assert_eq!(name, host_files::sha256::file(blob).unwrap());
    }
    assert_eq!(tree(home.path()).len(), 4 + 4 + 1 + 1, "blobs, links, refs/main, the victim");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
}

#[test]
fn names_and_commits_that_lead_elsewhere_are_left_or_refused() {
    let (folder, home) = (model_folder(), tempfile::tempdir().unwrap());
    let names = [
        "../../../../victim.safetensors",
        "model/../../../victim.safetensors",
        "model\\..\\victim.safetensors",
        "model\n.safetensors",
        "model\u{202e}.safetensors",
        "/victim.safetensors",
        "model/tokenizer.json",
    ];
    let mut description = described(folder.path());
    let siblings = description["siblings"].as_array_mut().unwrap();
    siblings.extend(names.iter().map(|name| json!({ "rfilename": name, "size": 1 })));
    let described = Arc::new(Mutex::new(description));
    let (shown, files) = (described.clone(), folder.path().to_owned());
    let mirror = Mirror::start(move |request, stream| match request.path.rsplit_once('/') {
        Some((before, name)) if before.contains("/resolve/") => {
            reply(stream, "200 OK", &[], &fs::read(files.join(name)).unwrap_or_default());
        }
        _ => reply(stream, "200 OK", &[], shown.lock().unwrap().to_string().as_bytes()),
    });
    let cache = home.path().join("hub");
    load(&source("org/tiny"), &options(mirror.access(&cache))).unwrap();
    let asked = mirror.asked.lock().unwrap().len();
    assert_eq!(asked, 1 + 4, "the description and the files that a model has");
    assert_eq!(tree(home.path()).len(), 4 + 4 + 1);
    for commit in ["../../victim", "", "main", &"g".repeat(40), &format!("{COMMIT}/..")] {
        described.lock().unwrap()["sha"] = commit.into();
        let fresh = home.path().join("fresh");
        let (message, _) = fails(mirror.access(&fresh));
        assert!(message.contains("as a commit"), "{message}");
        assert!(tree(&fresh).is_empty());
    }
}

#[test]
fn a_file_is_no_larger_than_announced_and_has_its_digest() {
    let (folder, cache) = (model_folder(), tempfile::tempdir().unwrap());
    let size = fs::metadata(folder.path().join("config.json")).unwrap().len();
    let endless = |stream: &mut TcpStream| while stream.write_all(&[b' '; 4096]).is_ok() {};
    type Answer = Box<dyn Fn(&[u8], &mut TcpStream) + Send + Sync>;
    let answers: Vec<(Answer, &str)> = vec![
        (
            Box::new(move |_, stream| {
                head(stream, "200 OK", &[]);
                endless(stream);
            }),
            "sends more than the",
        ),
        (
            Box::new(move |_, stream| {
                head(stream, "200 OK", &[("Transfer-Encoding", "chunked".into())]);
                while write!(stream, "1000\r\n{}\r\n", " ".repeat(4096)).is_ok() {}
            }),
            "sends more than the",
        ),
        (
            Box::new(move |_, stream| {
                head(stream, "200 OK", &[("Content-Length", (size + 1).to_string())]);
                endless(stream);
            }),
            "announces",
        ),
        (
            Box::new(move |_, stream| {
                head(
                    stream,
                    "206 Partial Content",
                    &[("Content-Range", format!("bytes 7-9/{size}"))],
                );
            }),
            "another part",
        ),
        (
            Box::new(|bytes, stream| reply(stream, "200 OK", &[], &vec![b' '; bytes.len()])),
            "hasn't the digest",
        ),
        (Box::new(|_, stream| reply(stream, "204 No Content", &[], b"")), "doesn't say which"),
    ];
    for (answer, expected) in answers {
        let mirror = Mirror::of(folder.path(), move |_, bytes, _, stream| answer(bytes, stream));
        let (message, took) = fails(mirror.access(cache.path()));
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(tree(cache.path()).is_empty(), "{:?}", tree(cache.path()));
    }
    let giant = json!({ "sha": COMMIT, "siblings": [
        { "rfilename": "model.safetensors", "size": 1u64 << 60 },
    ] });
    let mirror =
        Mirror::start(move |_, stream| reply(stream, "200 OK", &[], giant.to_string().as_bytes()));
    assert!(fails(mirror.access(cache.path())).0.contains("model.safetensors"));
    let mirror = Mirror::start(move |_, stream| {
        head(stream, "200 OK", &[]);
        endless(stream);
    });
    assert!(fails(mirror.access(cache.path())).0.contains("sends more than the"));
}

#[test]
fn a_mirror_that_keeps_one_waiting_is_left() {
    let (folder, cache) = (model_folder(), tempfile::tempdir().unwrap());
    let forever = || std::thread::sleep(Duration::from_secs(60));
    type Answer = Box<dyn Fn(&[u8], &mut TcpStream) + Send + Sync>;
    let answers: Vec<Answer> = vec![
        Box::new(move |_, _| forever()),
        Box::new(move |bytes, stream| {
            head(stream, "200 OK", &[("Content-Length", bytes.len().to_string())]);
            forever();
        }),
        Box::new(move |bytes, stream| {
            head(stream, "200 OK", &[("Content-Length", bytes.len().to_string())]);
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }),
        Box::new(move |_, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(b"A: b\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }),
    ];
    for answer in answers {
        let mirror = Mirror::of(folder.path(), move |_, bytes, _, stream| answer(bytes, stream));
        let patience = Some(Duration::from_millis(300));
        let (message, took) = fails(HubAccess { patience, ..mirror.access(cache.path()) });
        assert!(message.contains("can't be reached"), "{message}");
        assert!(took < Duration::from_secs(12), "{took:?}");
    }
}

#[test]
fn redirects_end_and_stay_where_the_hub_is() {
    let (folder, cache) = (model_folder(), tempfile::tempdir().unwrap());
    for (location, expected) in [
        ("", "redirects without an address"),
        ("here", "redirects more than 8 times"),
        ("http://192.0.2.1/x", "is not reached by https (http://192.0.2.1)"),
        ("http://me:secret@localhost/x", "an address with a password"),
        ("file:///etc/passwd", "redirects"),
    ] {
        let mirror = Mirror::of(folder.path(), move |_, _, request, stream| {
            let there = if location == "here" { &request.path } else { location };
            let location = (!there.is_empty()).then(|| ("Location", there.to_owned()));
            reply(stream, "302 Found", location.as_slice(), b"");
        });
        let (message, _) = fails(mirror.access(cache.path()));
        assert!(message.contains(expected) && !message.contains("secret@"), "{message}");
        assert!(mirror.asked.lock().unwrap().len() <= 10);
    }
    let access = HubAccess {
        endpoint: Some("http://192.0.2.1".into()),
        cache: Some(cache.path().to_owned()),
        ..HubAccess::default()
    };
    let (message, took) = fails(access);
    assert!(
        message.contains("is not reached by https") && took < Duration::from_secs(1),
        "{message}"
    );
}

#[test]
fn the_token_stays_with_the_hub() {
    let (folder, cache) = (model_folder(), tempfile::tempdir().unwrap());
    let files = folder.path().to_owned();
    // The store sends every second request back to the Hub, which then has the file.
    let store = Mirror::start(move |request, stream| {
        let (back, name) = request.path[1..].split_once('/').unwrap();
        if name == "config.json" {
            let back = format!("http://127.0.0.1:{back}/back/{name}");
            return reply(stream, "307 Temporary Redirect", &[("Location", back)], b"");
        }
        reply(stream, "200 OK", &[], &fs::read(files.join(name)).unwrap());
    });
    let (files, there) = (folder.path().to_owned(), store.endpoint.clone());
    let hub = Mirror::start(move |request, stream| {
        let port = stream.local_addr().unwrap().port();
        let name = request.path.rsplit('/').next().unwrap();
        if request.path.starts_with("/back/") {
            reply(stream, "200 OK", &[], &fs::read(files.join(name)).unwrap());
        } else if request.path.contains("/resolve/") {
            let location = format!("{there}/{port}/{name}");
            reply(stream, "302 Found", &[("Location", location)], b"");
        } else {
            reply(stream, "200 OK", &[], described(&files).to_string().as_bytes());
        }
    });
    load(&source("org/tiny"), &options(hub.access(cache.path()))).unwrap();
    for (path, token) in store.asked.lock().unwrap().iter() {
        assert_eq!(token.as_deref(), None, "{path}");
    }
    for (path, token) in hub.asked.lock().unwrap().iter() {
        let expected = (!path.starts_with("/back/")).then_some("Bearer secret");
        assert_eq!(token.as_deref(), expected, "{path}");
    }
    assert_eq!(store.asked.lock().unwrap().len(), 4);
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let (folder, cache) = (model_folder(), tempfile::tempdir().unwrap());
    let mirror = Mirror::of(folder.path(), |_, bytes, request, stream| {
        let from = request.range.map_or(0, |(from, _)| from);
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        let length = ("Content-Length", (bytes.len() - from).to_string());
        head(stream, "206 Partial Content", &[("Content-Range", range), length]);
        let to = bytes.len().min(from + bytes.len() / 3 + 1);
        let _ = stream.write_all(&bytes[from..to]);
    });
    load(&source("org/tiny"), &options(mirror.access(cache.path()))).unwrap();
    assert_eq!(mirror.asked.lock().unwrap().len(), 1 + 3 * 4);
    assert!(tree(cache.path()).iter().all(|path| !path.to_string_lossy().contains("incomplete")));
}
