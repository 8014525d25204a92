//! A model with adapter and steering behind the API that OpenAI made common, so that harnesses of others can question
//! it.
//!
//! [`engine`](Served) runs the model on a thread of its own: answers join those that are being generated and leave when
//! they end. Alone and in company an answer is the same up to rounding. `api` reads and checks requests and writes replies,
//! `server` keeps the connections, and `site` is what it asks for answers. [`watch`] serves a page in place of the API.
#![warn(missing_docs)]

mod api;
mod engine;
mod pages;
mod server;
mod site;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;

pub use api::Counts;
use api::{Limits, Service};
use engine::Engine;
pub use engine::Served;
pub use pages::{Watched, watch};

/// Time for what a thread of the runtime has begun, at the end.
const LAST_SECONDS: Duration = Duration::from_secs(1);
/// Threads on which requests are read.
const READERS: usize = 16;
/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(30);

/// How a model is served.
pub struct Options {
    /// Address to listen on; another one than this machine's own needs a key.
    pub address: IpAddr,
    /// Port to listen on, 0 for any that is free.
    pub port: u16,
    /// Name of the model.
    pub name: String,
    /// What clients send as `Authorization: Bearer KEY`.
    pub key: Option<String>,
    /// Answers that are generated together.
    pub batch: usize,
    /// Answers that wait.
    pub queue: usize,
    /// Connections at the same time.
    pub connections: usize,
    /// Bytes of the body of a request.
    pub body: usize,
    /// How long an answer may take, waiting included.
    pub time: Duration,
    /// Tokens of an answer where the request doesn't say.
    pub answer: usize,
    /// Tokens of a thought.
    pub thinking: usize,
    /// Seed of answers that are drawn and have none.
    pub seed: u64,
}

/// Why a model isn't served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address of other machines without a key.
    #[error(
        "{0} can be reached from other machines; give --key-file FILE or --key-variable NAME, or leave out --address"
    )]
    Open(IpAddr),
    /// A key that no header can carry.
    #[error("the key is {0}; a key is 8 to 4096 visible ASCII characters without spaces")]
    Key(&'static str),
    /// An address that can't be listened on.
    #[error(
        "{address} can't be listened on ({source}); choose another --port, or --port 0 for any that is free"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// What the system doesn't give.
    #[error("the server can't go on: {0}")]
    System(#[from] std::io::Error),
    /// The model's thread is gone.
    #[error("the thread of the model ended at a bug; please report it")]
    Model,
}

impl Error {
    /// Whether it is a matter of the arguments.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Key(_))
    }
}

/// What was served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Requests by what became of them.
    pub counts: Counts,
    /// Whether all answers that had begun came to their ends.
    pub finished: bool,
}

impl Options {
    /// Checks that nobody else can reach a server without a key.
    ///
    /// # Errors
    /// [`Error::Open`], and [`Error::Key`].
    pub fn check(&self) -> Result<(), Error> {
        match &self.key {
            None if !self.address.is_loopback() => Err(Error::Open(self.address)),
            Some(key) if !(8..=4096).contains(&key.len()) => {
                Err(Error::Key("too short or too long"))
            }
            Some(key) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(Error::Key("no visible ASCII"))
            }
            _ => Ok(()),
        }
    }

    /// Takes the address, before anything that takes long.
    ///
    /// # Errors
    /// As [`Options::check`], and [`Error::Listen`].
    pub fn listen(&self) -> Result<TcpListener, Error> {
        self.check()?;
        let address = SocketAddr::new(self.address, self.port);
        TcpListener::bind(address).map_err(|source| Error::Listen { address, source })
    }
}

/// Serves a model on a listener until `stop` is set: then no request is taken, answers that wait are told so, and
/// those that have begun come to their ends. `ready` is called once requests are answered, `tell` tells a person a line.
///
/// # Errors
/// [`Error::System`], and [`Error::Model`] if its thread ended.
pub fn serve(
    served: Served,
    options: &Options,
    listener: TcpListener,
    stop: &AtomicBool,
    tell: Box<dyn Fn(&str) + Send + Sync>,
    ready: impl FnOnce(SocketAddr),
) -> Result<Summary, Error> {
    options.check()?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let (engine, thread) = Engine::start(served, options.batch, options.queue)?;
    let limits = Limits {
        body: options.body,
        body_time: BODY_TIME,
        time: options.time,
        choices: options.queue.max(1),
        answer: options.answer,
        thinking: options.thinking,
    };
    let (name, key) = (options.name.clone(), options.key.clone());
    let service = Arc::new(Service::new(engine, name, limits, key, options.seed, tell));
    let runtime =
        Builder::new_current_thread().enable_all().max_blocking_threads(READERS).build()?;
    let finished = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        ready(address);
        let stop = || stop.load(Ordering::Relaxed) || thread.is_finished();
        let ending = || service.engine().end();
        server::serve(listener, service.clone(), options.connections, stop, ending, options.time)
            .await
    });
    service.engine().end();
    runtime.shutdown_timeout(LAST_SECONDS);
    let counts = service.counts();
    let finished = finished?;
    // Whose client has gone is left by its answers, so the thread ends.
    drop(service);
    thread.join().map_err(|_| Error::Model)?;
    Ok(Summary { counts, finished })
}
