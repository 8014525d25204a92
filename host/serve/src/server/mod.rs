//! Connections: how many there may be, and how long they may stand still.

mod patient;
mod places;
mod unread;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::site::{Held, Site};
use patient::Patient;
use places::{Place, Places};
use unread::Worded;

/// How long a connection may send nothing, between requests and within the head of one.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// How long a client may take no byte of what is sent to it.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Bytes of the head of a request, and header lines in it.
const HEAD: (usize, usize) = (64 << 10, 100);
/// How long a client may take for its answer once the answer is there.
const TAKE_TIME: Duration = Duration::from_secs(60);
/// How often a request to stop is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// After a connection couldn't be taken, as for want of files.
const REST: Duration = Duration::from_millis(100);

/// Serves until `stop` says so. Then no connection is taken, `ending` is called, and requests that are being answered
/// come to their ends, for at most `patience`. Whether they all did.
pub async fn serve<S: Site>(
    listener: TcpListener,
    site: Arc<S>,
    most: usize,
    stop: impl Fn() -> bool,
    ending: impl FnOnce(),
    patience: Duration,
) -> io::Result<bool> {
    let places = Places::new(most, patience + TAKE_TIME);
    let (over, _) = watch::channel(false);
    let mut stopped = pin!(until(stop));
    loop {
        let taken = match select(pin!(accept(&listener, &places)), stopped.as_mut()).await {
            Either::Right(_) => break,
            Either::Left((taken, _)) => taken,
        };
        let (stream, place) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!("a connection couldn't be taken: {error}");
                sleep(REST).await;
                continue;
            }
        };
        let (site, over) = (site.clone(), over.subscribe());
        tokio::spawn(connection(stream, site, place, over));
    }
    drop(listener);
    ending();
    over.send_replace(true);
    Ok(places.all_leave(patience).await)
}

/// When it is time to stop.
async fn until(stop: impl Fn() -> bool) {
    while !stop() {
        sleep(LOOK).await;
    }
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Places>) -> io::Result<(TcpStream, Place)> {
    let (stream, _) = listener.accept().await?;
    // Pieces of an answer are small and are to arrive now.
    stream.set_nodelay(true)?;
    Ok((stream, places.take().await))
}

/// One connection, until either side has enough of it or somebody else needs its place.
async fn connection<S: Site>(
    stream: TcpStream,
    site: Arc<S>,
    place: Place,
    mut over: watch::Receiver<bool>,
) {
    let place = Arc::new(place);
    let io = TokioIo::new(Worded::new(Patient::new(stream, WRITE_TIME), site.clone()));
    let own = place.clone();
    let service = service_fn(move |request| {
        let (site, place) = (site.clone(), own.clone());
        let begin = move || -> Held { Box::new(place.work()) };
        async move { Ok::<_, Infallible>(site.answer(request, begin).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD.0)
        .max_header_size(HEAD.0)
        .max_headers(HEAD.1)
        .serve_connection(io, service);
    let mut serving = pin!(serving);
    let mut needed = pin!(place.is_needed());
    let mut over = pin!(over.changed());
    let mut is_over = false;
    let ended = loop {
        let left = select(serving.as_mut(), needed.as_mut());
        let left = if is_over {
            left.await
        } else {
            match select(left, over.as_mut()).await {
                Either::Left((left, _)) => left,
                Either::Right(_) => {
                    is_over = true;
                    serving.as_mut().graceful_shutdown();
                    continue;
                }
            }
        };
        match left {
            Either::Left((ended, _)) => break ended,
            Either::Right(_) => {
                tracing::debug!("connection: it did nothing, and its place was needed");
                return;
            }
        }
    };
    if let Err(error) = ended {
        // A client that has gone is no event.
        tracing::debug!("connection: {error}");
    }
}
