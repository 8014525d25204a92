//! A page that is made anew when it has changed, for a browser on this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::runtime::Builder;

use crate::server;
use crate::site::{Body, Held, Site, is_local};
use crate::{Error, LAST_SECONDS};

/// Connections at the same time.
const CONNECTIONS: usize = 32;
/// How long the page may take.
const TIME: Duration = Duration::from_secs(120);

/// Nobody else's page may hold or read this one, and nothing of it is kept.
const HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// What is served.
pub trait Watched: Send + Sync + 'static {
    /// Another number for another page.
    fn state(&self) -> u64;

    /// The page of a state.
    ///
    /// # Errors
    /// Why there is none, for a person.
    fn page(&self, state: u64) -> Result<String, String>;
}

/// Serves a page on this machine alone, read-only, until `stop` is set: `/` is the page, `/state` its state. `ready` is told
/// the address.
///
/// # Errors
/// [`Error::Listen`] and [`Error::System`].
pub fn watch(
    port: u16,
    watched: impl Watched,
    stop: &AtomicBool,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener =
        TcpListener::bind(address).map_err(|source| Error::Listen { address, source })?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let site = Arc::new(Pages { watched: Arc::new(watched), last: Arc::default() });
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        ready(address);
        let stop = || stop.load(Ordering::Relaxed);
        server::serve(listener, site, CONNECTIONS, stop, || {}, LAST_SECONDS).await
    });
    runtime.shutdown_timeout(LAST_SECONDS);
    served?;
    Ok(())
}

/// A page that was made, and its state.
type Last = Mutex<Option<(u64, Arc<str>)>>;

struct Pages<W> {
    watched: Arc<W>,
    last: Arc<Last>,
}

impl<W: Watched> Site for Pages<W> {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        begin: impl FnOnce() -> Held + Send,
    ) -> Response<Body> {
        let host = request.headers().get(HOST).and_then(|value| value.to_str().ok());
        if !host.or_else(|| request.uri().host()).is_some_and(is_local) {
            let told = "this page is for browsers on this machine: ask for localhost or 127.0.0.1";
            return reply(StatusCode::FORBIDDEN, "text/plain", told);
        }
        if request.method() != Method::GET {
            return reply(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "there is nothing to write here",
            );
        }
        let is_page = match request.uri().path() {
            "/" => true,
            "/state" => false,
            _ => return reply(StatusCode::NOT_FOUND, "text/plain", "there is / and /state"),
        };
        let held = begin();
        let (watched, last) = (self.watched.clone(), self.last.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _held = held;
            let state = watched.state();
            if is_page { page(&*watched, state, &last) } else { Ok(format!("{state:016x}").into()) }
        });
        match tokio::time::timeout(TIME, work).await {
            Ok(Ok(Ok(text))) if is_page => reply(StatusCode::OK, "text/html; charset=utf-8", &text),
            Ok(Ok(Ok(text))) => reply(StatusCode::OK, "text/plain", &text),
            Ok(Ok(Err(why))) => {
                reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", &why)
            }
            Ok(Err(_)) => reply(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain",
                "the page couldn't be made: a bug; please report it",
            ),
            Err(_) => reply(StatusCode::GATEWAY_TIMEOUT, "text/plain", "the page took too long"),
        }
    }

    fn unread(&self, _: StatusCode) -> String {
        "\"this is no HTTP/1.1 request that can be read\"".into()
    }
}

/// The page of a state, made once however many ask for it.
fn page(watched: &impl Watched, state: u64, last: &Last) -> Result<Arc<str>, String> {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, page)) = last.as_ref().filter(|(known, _)| *known == state) {
        return Ok(page.clone());
    }
    let page: Arc<str> = watched.page(state)?.into();
    *last = Some((state, page.clone()));
    Ok(page)
}

fn reply(status: StatusCode, kind: &'static str, text: &str) -> Response<Body> {
    let mut response = Response::new(Full::from(text.to_owned()).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
