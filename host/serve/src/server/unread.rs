//! Answers to a head that can't be read, in the form of the API.
//!
//! hyper answers such a head by itself, with a status and an empty body, and has no place where a program could say more.
//! Its answer is known by its bytes on their way out, and goes out with a body. It is the last of its connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::site::Site;

/// How long, and how many bytes, of what else is sent is read and thrown away: a connection that is closed before would
/// take the answer with it.
const DRAIN: (Duration, usize) = (Duration::from_secs(2), 16 << 20);
/// The statuses that hyper answers with by itself. (It has 414 too, for addresses that no head of this server has room
/// for.)
const OWN: [StatusCode; 2] = [StatusCode::BAD_REQUEST, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];
const EMPTY: &str = "content-length: 0\r\n";

/// A connection on which hyper's own answers get a body.
pub struct Worded<C, S> {
    stream: C,
    site: Arc<S>,
    /// What goes out instead, and how much of it has.
    instead: Option<(Vec<u8>, usize)>,
    drain: Option<Drain>,
}

struct Drain {
    until: Pin<Box<Sleep>>,
    bytes: usize,
}

impl<C, S> Worded<C, S> {
    pub fn new(stream: C, site: Arc<S>) -> Self {
        Self { stream, site, instead: None, drain: None }
    }
}

/// The status of an answer that is hyper's own: a head alone, which says that its body is empty. No answer of the API is
/// without a body.
fn own(bytes: &[u8]) -> Option<StatusCode> {
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let is_empty = head.lines().any(|line| line == EMPTY.trim_end());
    (OWN.contains(&status) && is_empty && !head.contains("\r\n\r\n")).then_some(status)
}

/// The same answer with a body.
fn worded(bare: &[u8], json: &str) -> Vec<u8> {
    let announced = format!("content-type: application/json\r\ncontent-length: {}\r\n", json.len());
    let head = String::from_utf8_lossy(bare).replacen(EMPTY, &announced, 1);
    (head + json).into_bytes()
}

impl<C: AsyncRead + Unpin, S: Site> AsyncRead for Worded<C, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin, S: Site> AsyncWrite for Worded<C, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.instead.is_none() {
            let Some(status) = own(bytes) else {
                return Pin::new(&mut this.stream).poll_write(context, bytes);
            };
            this.instead = Some((worded(bytes, &this.site.unread(status)), 0));
        }
        while let Some((answer, written)) = &mut this.instead {
            let rest = &answer[*written..];
            if rest.is_empty() {
                let (until, bytes_left) = (Box::pin(sleep(DRAIN.0)), DRAIN.1);
                this.drain = Some(Drain { until, bytes: bytes_left });
                this.instead = None;
                break;
            }
            let count = ready!(Pin::new(&mut this.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += count;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        let Some(drain) = &mut this.drain else { return Poll::Ready(Ok(())) };
        let mut thrown_away = [0; 4096];
        while drain.bytes > 0 && drain.until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    drain.bytes = drain.bytes.saturating_sub(buffer.filled().len());
                }
                // The client has gone, or has nothing more to say.
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_answers_that_the_library_made_are_taken_for_such() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(own(bare.as_bytes()).unwrap(), 431);
        assert_eq!(own(bare.replace("1.1 431", "1.0 400").as_bytes()).unwrap(), 400);
        for other in [
            bare.replace("431", "429"),
            bare.replace(": 0", ": 10"),
            bare.replace("\r\n\r\n", "\r\n\r\n{}"),
            format!("{bare}{bare}"),
            format!("data: {bare}"),
            "HTTP/1.".into(),
            String::new(),
        ] {
            assert_eq!(own(other.as_bytes()), None, "{other}");
        }
        let answer = String::from_utf8(worded(bare.as_bytes(), "{}")).unwrap();
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("\r\n\r\n{}"));
        assert!(answer.contains("\r\ncontent-length: 2\r\n"), "{answer}");
    }
}
