//! Requests that are larger than they may be.

use std::io::{Read as _, Write as _};

use host_data::demo;
use host_serve::Options;
use serde_json::{Value, json};

use crate::support::{CHAT, Server, options, question, request};

fn short() -> Server {
    Server::with(demo::model(), Options { body: 4096, ..options() })
}

/// A question of about so many bytes.
fn large(bytes: usize) -> String {
    question(&"a".repeat(bytes)).to_string()
}

#[track_caller]
fn assert_too_large(reply: &str) {
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{reply:?}"));
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["type"], "invalid_request_error");
    assert!(body["error"]["message"].as_str().unwrap().contains("more than 4096 bytes"), "{body}");
}

/// What comes back after everything was sent.
fn sent(server: &Server, bytes: &[u8]) -> String {
    let mut stream = server.connect();
    stream.write_all(bytes).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn a_body_that_is_too_large_is_refused_after_it_was_sent() {
    let server = short();
    for bytes in [4096, 8192, 1 << 20, 32 << 20] {
        assert_too_large(&sent(&server, request(CHAT, "", &large(bytes)).as_bytes()));
    }
    assert_eq!(server.post(CHAT, &question("Hello?")).0, 200);
}

#[test]
fn a_body_of_unknown_length_is_refused_once_it_is_too_large() {
    let server = short();
    let mut asked = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                     Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        .to_owned();
    for piece in large(8192).as_bytes().chunks(1000) {
        let text = std::str::from_utf8(piece).unwrap();
        asked.push_str(&format!("{:x}\r\n{text}\r\n", piece.len()));
    }
    asked.push_str("0\r\n\r\n");
    assert_too_large(&sent(&server, asked.as_bytes()));
}

#[test]
fn who_asks_whether_to_send_a_body_is_told_not_to() {
    let server = short();
    let asked = request(CHAT, "Expect: 100-continue\r\n", &large(8192));
    let head = asked.split_once("\r\n\r\n").unwrap().0;
    assert_too_large(&sent(&server, format!("{head}\r\n\r\n").as_bytes()));
    // And told to where it is small enough.
    let asked = request(CHAT, "Expect: 100-continue\r\n", &question("Hello?").to_string());
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    let mut stream = server.connect();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
    let mut some = [0; 21];
    stream.read_exact(&mut some).unwrap();
    assert_eq!(&some, b"HTTP/1.1 100 Continue");
    stream.write_all(body.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("HTTP/1.1 200 OK"), "{reply}");
}

/// The status of the reply to a request that isn't read to its end.
fn status(server: &Server, bytes: &[u8]) -> u16 {
    let mut stream = server.connect();
    let _ = stream.write_all(bytes);
    let mut line = [0; 12];
    stream.read_exact(&mut line).unwrap();
    std::str::from_utf8(&line[9..]).unwrap().parse().unwrap()
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let server = short();
    let long = format!("X-Long: {}\r\n", "a".repeat(100 << 10));
    let many: String = (0..200).map(|number| format!("X-{number}: a\r\n")).collect();
    for headers in [long, many] {
        assert_eq!(status(&server, request(CHAT, &headers, "{}").as_bytes()), 431);
    }
    let path = format!("/{}", "a".repeat(100 << 10));
    let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!([414, 431].contains(&status(&server, asked.as_bytes())));
    assert_eq!(server.get("/health").1["status"], json!("ok"));
}
