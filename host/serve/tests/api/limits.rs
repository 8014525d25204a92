//! How much may be asked, by whom, and what becomes of those who leave.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use host_data::demo;
use host_serve::{Error, Options};
use serde_json::{Value, json};

use crate::support::{CHAT, Server, TEXT, options, question, request};

/// Answers that take a while: draws so wild that they seldom end.
pub fn long(count: usize) -> Value {
    json!({"prompt": "How", "n": count, "max_tokens": 400, "temperature": 2, "seed": 1})
}

/// Waits until the server has so many answers in work and waiting.
#[track_caller]
pub fn until(server: &Server, what: &str, expected: impl Fn(u64, u64) -> bool) {
    let began = Instant::now();
    loop {
        let health = server.get("/health").1;
        let count = |name: &str| health[name].as_u64().unwrap();
        if expected(count("running"), count("waiting")) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: {health}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_full_queue_is_told_and_passes() {
    let server = Server::with(demo::model(), Options { batch: 1, queue: 40, ..options() });
    let mut held = server.connect();
    held.write_all(request(TEXT, "", &long(40).to_string()).as_bytes()).unwrap();
    until(&server, "one runs", |running, waiting| running == 1 && waiting > 20);
    let reply = server.raw(request(TEXT, "", &long(40).to_string()).as_bytes());
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (429, &json!("queue_full")));
    assert!(reply.head.contains("retry-after: 1\r\n"), "{}", reply.head);
    // Whose client leaves, leaves too.
    drop(held);
    until(&server, "all have left", |running, waiting| running + waiting == 0);
    assert!(!server.said(&question("Hello?")).is_empty());
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_stream_frees_its_place() {
    let server = Server::with(demo::model(), Options { batch: 1, ..options() });
    let mut body = long(4);
    body["stream"] = true.into();
    let mut stream = server.connect();
    stream.write_all(request(TEXT, "", &body.to_string()).as_bytes()).unwrap();
    let mut some = [0; 600];
    stream.read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&some));
    until(&server, "it runs", |running, waiting| running == 1 && waiting > 0);
    drop(stream);
    until(&server, "it has left", |running, waiting| running + waiting == 0);
}

#[test]
fn an_answer_that_takes_too_long_is_told() {
    let slow = Options { time: Duration::from_millis(50), batch: 1, ..options() };
    let server = Server::with(demo::model(), slow);
    let (status, reply) = server.post(TEXT, &long(40));
    assert_eq!((status, &reply["error"]["code"]), (504, &json!("timeout")));
    let mut body = long(40);
    body["stream"] = true.into();
    let reply = server.raw(request(TEXT, "", &body.to_string()).as_bytes());
    assert_eq!(reply.status, 200);
    let last = reply.body.trim_end().rsplit("data: ").next().unwrap();
    assert_eq!(serde_json::from_str::<Value>(last).unwrap()["error"]["code"], "timeout");
    until(&server, "it is free", |running, waiting| running + waiting == 0);
}

#[test]
fn a_key_is_needed_where_one_is_set() {
    let key = "correct-horse-battery";
    let server = Server::with(demo::model(), Options { key: Some(key.into()), ..options() });
    let status = |headers: &str| {
        server.raw(request(CHAT, headers, &question("Hello?").to_string()).as_bytes()).status
    };
    for headers in [
        "",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer correct-horse-batter\r\n",
        "Authorization: Bearer correct-horse-battery2\r\n",
        "Authorization: Bearer Correct-horse-battery\r\n",
        "Authorization: Basic correct-horse-battery\r\n",
        "X-Api-Key: correct-horse-battery\r\n",
    ] {
        assert_eq!(status(headers), 401, "{headers}");
    }
    assert_eq!(status(&format!("Authorization: Bearer {key}\r\n")), 200);
    assert_eq!(server.get("/v1/models").0, 401);
    assert_eq!(server.get("/nowhere").0, 401);
    assert_eq!(server.get("/health").0, 200);
    let reply = server.raw(request(CHAT, "", "{}").as_bytes());
    assert!(reply.head.contains("www-authenticate: Bearer"), "{}", reply.head);
    assert_eq!(reply.json()["error"]["code"], "invalid_api_key");
}

#[test]
fn without_a_key_only_this_machine_is_served_under_its_own_names() {
    let server = Server::start();
    let body = question("Hello?").to_string();
    let rebound = request(CHAT, "", &body).replace("Host: 127.0.0.1", "Host: evil.example");
    let reply = server.raw(rebound.as_bytes());
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (403, &json!("host_not_allowed")));
    let open = Options { address: "0.0.0.0".parse().unwrap(), ..options() };
    assert!(matches!(open.listen(), Err(Error::Open(_))));
    for key in ["short", "with a space in it", "umlauts-are-höher"] {
        let wrong = Options { key: Some(key.into()), ..options() };
        assert!(matches!(wrong.listen(), Err(Error::Key(_))), "{key}");
    }
    let taken = Options { port: server.address.port(), ..options() };
    let error = taken.listen().unwrap_err().to_string();
    assert!(error.contains("can't be listened on") && error.contains("--port 0"), "{error}");
}

#[test]
fn what_has_begun_is_finished_at_the_end_and_what_waits_is_told() {
    let server = Server::with(demo::model(), Options { batch: 1, ..options() });
    let asked = |count| request(TEXT, "", &long(count).to_string());
    let (mut runs, mut waits) = (server.connect(), server.connect());
    runs.write_all(asked(1).as_bytes()).unwrap();
    until(&server, "one runs", |running, _| running == 1);
    // Of these some still wait when the end is seen.
    waits.write_all(asked(200).as_bytes()).unwrap();
    until(&server, "others wait", |_, waiting| waiting > 100);
    server.ask_to_end();
    let mut replies = [String::new(), String::new()];
    runs.read_to_string(&mut replies[0]).unwrap();
    waits.read_to_string(&mut replies[1]).unwrap();
    assert!(
        replies[0].starts_with("HTTP/1.1 200") && replies[0].contains("finish_reason"),
        "{}",
        replies[0]
    );
    assert!(
        replies[1].starts_with("HTTP/1.1 503") && replies[1].contains("is ending"),
        "{}",
        replies[1]
    );
    let address = server.address;
    assert!(server.end().finished);
    assert!(std::net::TcpStream::connect(address).is_err());
}
