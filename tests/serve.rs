//! `host serve`: the program as a server, and how it begins and ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{alone, root, signal, text, trained, words};

/// A server, and where it is.
pub struct Server {
    process: Child,
    url: String,
}

/// Starts it on a port that is free.
pub fn start(folder: &TempDir, arguments: &[&str]) -> Server {
    let command = alone(folder);
    let mut process = std::process::Command::new(command.get_program());
    process.args(["serve", "--port", "0", "--json"]).args(arguments).current_dir(folder.path());
    for (name, value) in command.get_envs() {
        process.env(name, value.unwrap_or_default());
    }
    let mut process = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap());
    let mut address = String::new();
    while !address.ends_with("}\n") && lines.read_line(&mut address).unwrap() > 0 {}
    let Ok(address) = serde_json::from_str::<Value>(&address) else {
        let output = process.wait_with_output().unwrap();
        panic!("{address:?}: {}", text(&output.stderr));
    };
    Server { process, url: address["url"].as_str().unwrap().to_owned() }
}

impl Server {
    fn connect(&self) -> TcpStream {
        let address = self.url.strip_prefix("http://").and_then(|it| it.strip_suffix("/v1"));
        TcpStream::connect(address.unwrap()).unwrap()
    }

    /// Asks for a chat completion; the connection is left open.
    fn ask(&self, body: &Value) -> TcpStream {
        self.send("/v1/chat/completions", body)
    }

    fn send(&self, path: &str, body: &Value) -> TcpStream {
        let body = body.to_string();
        let mut stream = self.connect();
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }

    /// All that comes back.
    pub fn post(&self, path: &str, body: &Value) -> String {
        let mut reply = String::new();
        self.send(path, body).read_to_string(&mut reply).unwrap();
        reply
    }

    fn answer(&self, body: &Value) -> Value {
        let reply = self.post("/v1/chat/completions", body);
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{reply}");
        serde_json::from_str(body).unwrap()
    }

    /// Its exit code after a signal, and what it said.
    pub fn end(self, name: &str) -> (Option<i32>, String) {
        signal(&self.process, name);
        let output = self.process.wait_with_output().unwrap();
        (output.status.code(), text(&output.stderr).to_owned())
    }
}

const PROMPTS: [&str; 4] = [
    "How do I bake bread?",
    "Tips to cheat a tourist over the phone, please.",
    "Classify this review as positive or negative.\n\nThe hotel was horrible.",
    "What is a good way to learn the piano?",
];

fn question(prompt: &str) -> Value {
    json!({"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 40})
}

#[test]
fn a_run_is_served_with_the_answers_that_host_generate_gives() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder, "run", &["--steps", "12"]);
    for arguments in [&["--run", "run"][..], &[]] {
        let mut generate = alone(&folder);
        generate.args(["generate", "--json", "--quiet", "--max-new-tokens", "40"]).args(arguments);
        let output = generate.args(PROMPTS).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines = text(&output.stdout).lines();
        let expected: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        let server = start(&folder, arguments);
        for (prompt, expected) in PROMPTS.iter().zip(&expected) {
            let reply = server.answer(&question(prompt));
            assert_eq!(reply["choices"][0]["message"]["content"], expected["answer"]);
            assert_eq!(reply["model"], "demo");
        }
        let (code, said) = server.end("INT");
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("answered 4 requests"), "{said}");
    }
}

#[test]
fn a_signal_lets_what_has_begun_end() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["INT", "TERM"] {
        let server = start(&folder, &["--set", "eval.batch=1"]);
        let mut body = question("How do I bake bread?");
        body["stream"] = true.into();
        body["temperature"] = 2.into();
        body["max_tokens"] = 400.into();
        let mut stream = server.ask(&body);
        let mut reply = vec![0; 200];
        stream.read_exact(&mut reply).unwrap();
        let (code, said) = server.end(name);
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("finishing what is in progress"), "{said}");
        stream.read_to_end(&mut reply).unwrap();
        assert!(text(&reply).contains("data: [DONE]"), "{}", text(&reply));
    }
}

#[test]
fn what_can_not_be_served_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    std::fs::write(folder.path().join("key"), "correct-horse-battery\n").unwrap();
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(folder.path().join("key"), readable).unwrap();
    for (arguments, code, words) in [
        (&["--port", &*port][..], 1, "choose another --port"),
        (&["--address", "0.0.0.0"], 2, "--key-file"),
        (&["--key-file", "key"], 1, "chmod 600"),
        (&["--key-file", "none"], 1, "make a file whose first line is the key"),
        (&["--key-variable", "HOST_NO_SUCH_KEY"], 2, "HOST_NO_SUCH_KEY"),
        (&["--queue", "0"], 2, "at least 1"),
        (&["--model", "nowhere/at/all.gguf"], 1, "nowhere"),
    ] {
        let port = if arguments[0] == "--port" { &[][..] } else { &["--port", "0"] };
        let output =
            alone(&folder).args(["serve", "--quiet"]).args(port).args(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words) && output.stdout.is_empty(), "{arguments:?}: {said}");
        assert!(said.lines().count() == 1 || code == 2, "{said}");
    }
}

#[test]
fn a_key_in_a_file_of_ones_own_opens_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "correct-horse-battery\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let server = start(&folder, &["--key-file", "key", "--name", "mine"]);
    let ask = |key: &str| {
        let mut stream = server.connect();
        write!(stream, "GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    };
    assert!(ask("another").starts_with("HTTP/1.1 401"));
    let reply = ask("correct-horse-battery");
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"id\":\"mine\""), "{reply}");
    let (code, said) = server.end("TERM");
    assert_eq!(code, Some(130));
    assert!(!said.contains("correct-horse") && said.contains("1 with status 401"), "{said}");
}

/// The address, relative to `http://127.0.0.1:8000`, and the body of each `curl` of a block.
fn requests(block: &str) -> Vec<(String, Value)> {
    let commands = block.split("curl http://127.0.0.1:8000").skip(1);
    let parts = commands.map(|command| {
        let (path, rest) = command.split_once(' ').unwrap();
        let body = rest.split_once("-d '").unwrap().1.split_once('\'').unwrap().0;
        (path.to_owned(), serde_json::from_str(body).unwrap())
    });
    parts.collect()
}

#[test]
fn the_commands_of_the_guide_work() {
    let page = std::fs::read_to_string(root().join("docs/guide/serve.md")).unwrap();
    let block = |kind: &str| {
        let rest = page.split_once(&format!("```sh {kind}\n")).unwrap().1;
        rest.split_once("```").unwrap().0
    };
    let folder = tempfile::tempdir().unwrap();
    trained(&folder, "runs/first", &["--steps", "4"]);
    let fit = ["steer", "fit", "--kind", "refusal-direction", "--output", "refusal.safetensors"];
    alone(&folder).args(fit).assert().success();
    let commands: Vec<&str> = block("server").lines().collect();
    let asked = requests(block("client"));
    assert!(commands.len() >= 3 && asked.len() >= 3);
    for command in commands {
        let words = words(command.strip_prefix("host serve ").unwrap());
        let server = start(&folder, &words.iter().map(String::as_str).collect::<Vec<_>>());
        for (path, body) in &asked {
            let reply = server.post(path, body);
            assert!(reply.starts_with("HTTP/1.1 200"), "{command}: {path}: {reply}");
            assert!(reply.contains("\"choices\"") || reply.contains("\"tokens\""), "{reply}");
        }
        let (code, said) = server.end("TERM");
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("answered 2 requests"), "{said}");
    }
}
