//! What connections serve: a site says what is answered to a request.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

/// What a reply says, at once or in pieces.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Kept for as long as a request is worked on.
pub type Held = Box<dyn Send>;

/// What is asked and answered.
pub trait Site: Send + Sync + 'static {
    /// The reply to a request. `begin` is called once it is there as a whole; what it gives is kept until it is answered.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        begin: impl FnOnce() -> Held + Send,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// The JSON that goes out with an answer to a head that can't be read; such a request is counted.
    fn unread(&self, status: StatusCode) -> String;
}

/// Whether a host header names this machine. A page of a browser whose name was bound to this address carries its own.
pub fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = |address: IpAddr| address.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}
