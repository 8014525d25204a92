//! `host watch`: a page for browsers on this machine.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::program::{alone, plugin, signal, trained};
use crate::report::told;

/// Serves a run until it is dropped.
struct Watch {
    process: Child,
    address: String,
}

impl Watch {
    fn start(folder: &TempDir, arguments: &[&str]) -> Self {
        let command = alone(folder);
        let mut process = std::process::Command::new(command.get_program());
        process
            .args(arguments)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = process.spawn().unwrap();
        let mut url = Vec::new();
        let stdout = process.stdout.as_mut().unwrap();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            url.push(byte[0]);
        }
        let url = String::from_utf8(url).unwrap();
        let address = url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        Self { process, address }
    }

    /// The reply as a whole.
    fn ask(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}", self.address))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_watched_run_is_a_page_for_this_machine_that_changes_with_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(&folder, "run", &["--policy", &plugin("fixed-kl.wasm"), "--steps", "2"]);
    let mut watch = Watch::start(&folder, &["watch", "run", "--every", "1"]);
    assert!(watch.address.starts_with("127.0.0.1:"), "{}", watch.address);
    let page = watch.get("/");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let head = page.split("\r\n\r\n").next().unwrap().to_lowercase();
    for header in ["cache-control: no-store", "x-frame-options: deny", "content-type: text/html"] {
        assert!(head.contains(header), "{head}");
    }
    assert!(page.contains("data-watch=\"1\"") && page.contains("connect-src &#x27;self&#x27;"));
    assert!(page.contains("Finished: 2 of 2"), "{page}");
    let state = || watch.get("/state").rsplit("\r\n").next().unwrap().to_owned();
    let before = state();
    assert!(page.contains(&format!("data-state=\"{before}\"")), "{before}");
    assert_eq!(before, state());
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let more = metrics.lines().next().unwrap().replacen("\"step\":0", "\"step\":2", 1);
    std::fs::write(run.join("metrics.jsonl"), format!("{metrics}{more}\n")).unwrap();
    assert_ne!(before, state());
    assert!(watch.get("/").contains("200 OK"));

    // A page of a browser whose name leads here is a stranger, and nobody writes.
    for (head, status) in [
        ("GET / HTTP/1.1\r\nHost: attacker.example".to_owned(), "403"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1.attacker.example:80".into(), "403"),
        (format!("POST / HTTP/1.1\r\nHost: {}", watch.address), "405"),
        (format!("GET /../../etc/passwd HTTP/1.1\r\nHost: {}", watch.address), "404"),
        (format!("GET /metrics.jsonl HTTP/1.1\r\nHost: {}", watch.address), "404"),
    ] {
        let reply = watch.ask(&head);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {reply}");
    }
    signal(&watch.process, "INT");
    assert_eq!(watch.process.wait().unwrap().code(), Some(130));

    let output = alone(&folder).args(["watch", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("nowhere is not there")
            || told(&output).contains("nowhere: is not there"),
        "{}",
        told(&output)
    );
}
