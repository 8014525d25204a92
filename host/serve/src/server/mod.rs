//! Connections: how many there may be, and how long they may stand still.

mod patient;

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
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::api::{Service, answer};
use patient::Patient;

/// How long a connection may send nothing, between requests and within the head of one.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// How long a client may take no byte of what is sent to it.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How often a request to stop is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// After a connection couldn't be taken, as for want of files.
const REST: Duration = Duration::from_millis(100);

/// Serves until `stop` says so. Then no connection is taken, `ending` is called, and requests that are being answered
/// come to their ends, for at most `patience`. Whether they all did.
pub async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    most: usize,
    stop: impl Fn() -> bool,
    ending: impl FnOnce(),
    patience: Duration,
) -> io::Result<bool> {
    let places = Arc::new(Semaphore::new(most));
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
        let (service, over) = (service.clone(), over.subscribe());
        tokio::spawn(async move {
            connection(stream, service, over).await;
            drop(place);
        });
    }
    drop(listener);
    ending();
    over.send_replace(true);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    Ok(timeout(patience, places.acquire_many(all)).await.is_ok())
}

/// When it is time to stop.
async fn until(stop: impl Fn() -> bool) {
    while !stop() {
        sleep(LOOK).await;
    }
}

/// The next connection, once there is a place for it; until then it waits in the system's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Pieces of an answer are small and are to arrive now.
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// One connection, until either side has enough of it.
async fn connection(stream: TcpStream, service: Arc<Service>, mut over: watch::Receiver<bool>) {
    let io = TokioIo::new(Patient::new(stream, WRITE_TIME));
    let service = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(answer(service, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(io, service);
    let mut serving = pin!(serving);
    let ended = match select(serving.as_mut(), pin!(over.changed())).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        // A client that has gone is no event.
        tracing::debug!("connection: {error}");
    }
}
