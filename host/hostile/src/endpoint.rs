//! A judge's endpoint that does what a test wants it to: answers, or fails in one of the
//! ways in which servers do.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::server::{Server, read};

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A chat completion that says this.
    Says(String),
    /// A status, and header lines beside it.
    Status(u16, &'static str),
    /// A status, header lines beside it, and this body.
    Refuses(u16, &'static str, &'static str),
    /// 200 and this body.
    Body(&'static str),
    /// The first half of a good reply, and the end of the connection.
    Half,
    /// Nothing, for this long.
    Silence(Duration),
    /// The end of the connection.
    Hangup,
}

/// A request, as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    /// Request line and header lines.
    pub head: String,
    pub body: String,
}

/// A server on this machine; it ends when it is dropped.
pub struct Endpoint {
    server: Server,
    scheme: &'static str,
    shared: Arc<Shared>,
}

/// What a request of this number, from 0, is answered.
type Answer = dyn Fn(usize, &Request) -> Reply + Send + Sync;

struct Shared {
    requests: Mutex<Vec<Request>>,
    reply: Box<Answer>,
}

impl Endpoint {
    /// `reply` gets the number of the request, from 0, and the request.
    ///
    /// # Errors
    /// If there is no port to listen at.
    pub fn start(
        reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::listen("http", reply, |served, stream| served.serve(&stream))
    }

    /// The same over TLS, with a certificate that no one but itself has signed, in PEM.
    ///
    /// # Errors
    /// As above, or if no certificate can be made.
    pub fn start_encrypted(
        reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> io::Result<(Self, String)> {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let own = own.map_err(io::Error::other)?;
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
        let config = Arc::new(config);
        let server = Self::listen("https", reply, move |served, stream| {
            if let Ok(connection) = ServerConnection::new(config.clone()) {
                served.serve(StreamOwned::new(connection, stream));
            }
        })?;
        Ok((server, own.cert.pem()))
    }

    fn listen(
        scheme: &'static str,
        reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
        serve: impl Fn(&Shared, TcpStream) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { requests: Mutex::default(), reply: Box::new(reply) });
        let served = shared.clone();
        let server = Server::start(|_| move |stream| serve(&served, stream))?;
        Ok(Self { server, scheme, shared })
    }

    pub fn url(&self) -> String {
        format!("{}://{}/v1", self.scheme, self.server.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests().clone()
    }
}

impl Shared {
    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: impl Read + Write) {
        let Ok((head, body)) = read(&mut stream) else {
            return;
        };
        let request = Request { head, body: String::from_utf8_lossy(&body).into_owned() };
        let mut requests = self.requests();
        let number = requests.len();
        requests.push(request.clone());
        drop(requests);
        // Whoever asked may be gone.
        drop(write(&mut stream, &(self.reply)(number, &request)));
    }
}

fn write(mut stream: impl Write, reply: &Reply) -> io::Result<()> {
    let whole = |status: u16, headers: &str, body: &str| {
        format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n\
             {headers}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let text = match reply {
        Reply::Says(content) => whole(200, "", &completion(content)),
        Reply::Status(status, headers) => whole(*status, headers, "{}"),
        Reply::Refuses(status, headers, body) => whole(*status, headers, body),
        Reply::Body(body) => whole(200, "", body),
        Reply::Half => {
            let mut text = whole(200, "", &completion("{\"score\": 1}"));
            text.truncate(text.len() - 40);
            text
        }
        Reply::Silence(time) => {
            std::thread::sleep(*time);
            return Ok(());
        }
        Reply::Hangup => return Ok(()),
    };
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

fn completion(content: &str) -> String {
    let message = serde_json::json!({"role": "assistant", "content": content});
    let choice = serde_json::json!({"index": 0, "message": message, "finish_reason": "stop"});
    serde_json::json!({"object": "chat.completion", "choices": [choice]}).to_string()
}
