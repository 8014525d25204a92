//! Frames between this process and a worker: a length, and that many bytes.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A connection that gives up at a moment, however slowly the other side drips.
pub(super) struct Until<'a> {
    stream: &'a UnixStream,
    end: Option<Instant>,
}

impl<'a> Until<'a> {
    pub(super) fn new(stream: &'a UnixStream, time: Duration) -> Self {
        // A time beyond what the clock counts is no limit.
        Self { stream, end: Instant::now().checked_add(time) }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl Read for Until<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(into)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

/// A frame of at most `most` bytes; none where the other side has closed.
pub(super) fn read(from: &mut impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    // A read with a timeout ends at any signal, such as Ctrl-C, which is no reason to give up.
    let first = loop {
        match from.read(&mut length[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    match first {
        0 => return Ok(None),
        _ => from.read_exact(&mut length[1..])?,
    }
    let length = u64::from_le_bytes(length);
    if length > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    let is_whole = bytes.len() as u64 == length;
    if is_whole { Ok(Some(bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every other read is interrupted by a signal.
    struct Disturbed<'a>(&'a [u8], bool);

    impl Read for Disturbed<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(into) }
        }
    }

    #[test]
    fn a_signal_while_an_answer_is_awaited_loses_nothing() {
        let mut sent = Vec::new();
        write(&mut sent, b"answer").expect("written");
        let mut from = Disturbed(&sent, false);
        let read = |from: &mut Disturbed| super::read(from, 100).expect("read");
        assert_eq!(read(&mut from).as_deref(), Some(&b"answer"[..]));
        assert_eq!(read(&mut from), None);
    }
}
