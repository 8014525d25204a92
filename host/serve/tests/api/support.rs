//! A server and its clients.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use host_data::demo;
use host_model::{Answered, Answering, GenerateOptions, Message, Model, Overlay};
use host_serve::{Error, Options, Served, Summary, serve};
use serde_json::{Value, json};

pub const CHAT: &str = "/v1/chat/completions";
pub const TEXT: &str = "/v1/completions";

/// A server in this process; it ends when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub told: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Summary, Error>>>,
}

pub fn options() -> Options {
    Options {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 0,
        name: "demo".into(),
        key: None,
        batch: 64,
        queue: 256,
        connections: 128,
        body: 1 << 20,
        time: Duration::from_secs(120),
        answer: 64,
        thinking: 24,
        seed: 17,
    }
}

impl Server {
    pub fn start() -> Self {
        Self::with(demo::model(), options())
    }

    pub fn with(model: Model, options: Options) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let told = Arc::<Mutex<Vec<String>>>::default();
        let (ready, address) = mpsc::channel();
        let listener = options.listen().unwrap();
        let (flag, lines) = (stop.clone(), told.clone());
        let thread = std::thread::spawn(move || {
            let served = Served { model, adapter: None, steering: None };
            let tell = Box::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()));
            serve(served, &options, listener, &flag, tell, |address| ready.send(address).unwrap())
        });
        let address = address.recv().unwrap();
        Self { address, told, stop, thread: Some(thread) }
    }

    /// Asks it to end, without waiting.
    pub fn ask_to_end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Ends it; what it served.
    pub fn end(mut self) -> Summary {
        self.ask_to_end();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }

    /// Status and body of a GET.
    pub fn get(&self, path: &str) -> (u16, Value) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let reply = self.raw(request.as_bytes());
        (reply.status, reply.json())
    }

    /// Status and body of a POST.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let reply = self.raw(request(path, "", &body.to_string()).as_bytes());
        (reply.status, reply.json())
    }

    /// A body that must be answered, without what differs from request to request.
    #[track_caller]
    pub fn answer(&self, path: &str, body: &Value) -> Value {
        let (status, mut reply) = self.post(path, body);
        assert_eq!(status, 200, "{reply}");
        for name in ["id", "created"] {
            reply.as_object_mut().unwrap().remove(name).unwrap();
        }
        reply
    }

    /// The text of the only choice.
    #[track_caller]
    pub fn said(&self, body: &Value) -> String {
        let reply = self.answer(CHAT, body);
        reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    }

    /// The events of a reply in pieces, `[DONE]` apart.
    #[track_caller]
    pub fn events(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut body = body.clone();
        body["stream"] = true.into();
        let reply = self.raw(request(path, "", &body.to_string()).as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert!(reply.head.contains("content-type: text/event-stream"), "{}", reply.head);
        let mut lines: Vec<&str> =
            reply.body.split("\n\n").filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.pop(), Some("data: [DONE]"));
        let data = lines.iter().map(|line| line.strip_prefix("data: ").unwrap());
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream
    }

    /// What comes back for these bytes.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // A server that refuses early closes while the body still comes.
        let _ = stream.write_all(bytes);
        Reply::read(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask_to_end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A POST of JSON, on a connection that ends with it.
pub fn request(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    fn read(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while reader.read_line(&mut head).unwrap() > 2 {}
        let mut body = Vec::new();
        reader.read_to_end(&mut body).unwrap();
        let is_chunked = head.contains("transfer-encoding: chunked");
        let body = if is_chunked { unchunked(&body) } else { body };
        let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("{head:?}")).parse().unwrap();
        Self { status, head, body: String::from_utf8(body).unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body))
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&bytes[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 4 + size..];
    }
}

/// Prompts of the demo's evaluation, of both kinds.
pub fn prompts() -> Vec<String> {
    let files = ["demo:eval_harmful.jsonl", "demo:eval_harmless.jsonl"];
    let rows = files.map(|file| {
        let bytes = host_data::embedded(file.as_ref()).unwrap();
        let rows = std::str::from_utf8(bytes).unwrap().lines();
        let prompt = |row: &str| {
            serde_json::from_str::<Value>(row).unwrap()["prompt"].as_str().unwrap().to_owned()
        };
        rows.map(prompt).collect::<Vec<_>>()
    });
    rows.concat()
}

/// A greedy question.
pub fn question(prompt: &str) -> Value {
    json!({
        "model": "demo",
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": 32,
    })
}

/// The greedy answer of the model asked directly.
pub fn direct(model: &Model, messages: &[Message], most: usize, thinking: usize) -> Answered {
    let options = GenerateOptions { max_new_tokens: most, ..GenerateOptions::default() };
    let answering = Answering {
        decoder: &model.decoder,
        tokenizer: &model.tokenizer,
        overlay: Overlay::default(),
        options: &options,
        max_thinking_tokens: thinking,
    };
    let prompt = model.tokenizer.encode_prompt(&messages.to_vec()).unwrap();
    answering.answer(&[prompt]).unwrap().remove(0)
}
