//! The part of a file that is in memory, and where in the file it stands.

use std::io::{self, Read};

/// Bytes that are read at once, at least.
const CHUNK: usize = 64 << 10;

/// A stream of which the next bytes can be looked at before they are taken.
pub(super) struct Window<'a> {
    from: Box<dyn Read + 'a>,
    bytes: Vec<u8>,
    /// Where in `bytes` what isn't taken yet begins.
    at: usize,
    ended: bool,
    line: usize,
    /// Bytes of the line that were taken.
    column: usize,
}

impl<'a> Window<'a> {
    pub fn new(from: impl Read + 'a) -> Self {
        let from = Box::new(from);
        Self { from, bytes: Vec::new(), at: 0, ended: false, line: 1, column: 0 }
    }

    /// The next bytes: `wanted` or more, fewer only where the stream ends.
    pub fn fill(&mut self, wanted: usize) -> io::Result<&[u8]> {
        let missing = wanted.saturating_sub(self.rest().len());
        if missing > 0 && !self.ended {
            // What was taken goes before the buffer grows.
            self.bytes.drain(..self.at);
            self.at = 0;
            let missing = missing.max(CHUNK) as u64;
            let read = self.from.by_ref().take(missing).read_to_end(&mut self.bytes)? as u64;
            self.ended = read < missing;
        }
        Ok(self.rest())
    }

    /// As many of the next bytes as [`fill`](Self::fill) brought.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Whether nothing follows what is in memory.
    pub fn is_last(&self) -> bool {
        self.ended
    }

    /// Goes on behind the next `count` bytes.
    pub fn take(&mut self, count: usize) {
        let taken = &self.bytes[self.at..self.at + count];
        match taken.iter().rposition(|byte| *byte == b'\n') {
            None => self.column += count,
            Some(last) => {
                self.line += taken.iter().filter(|byte| **byte == b'\n').count();
                self.column = count - last - 1;
            }
        }
        self.at += count;
    }

    /// Leaves out the next `count` bytes, which belong to no line.
    pub fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// Goes on at the first byte that is no white space, if there is one.
    pub fn take_space(&mut self) -> io::Result<Option<u8>> {
        loop {
            let rest = self.fill(1)?;
            if rest.is_empty() {
                return Ok(None);
            }
            let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let next = rest.get(space).copied();
            self.take(space);
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// Goes on behind the line, however long it is, and says whether there was an end to it.
    pub fn take_line(&mut self) -> io::Result<bool> {
        loop {
            let rest = self.fill(1)?;
            let (length, end) = (rest.len(), rest.iter().position(|byte| *byte == b'\n'));
            self.take(end.map_or(length, |end| end + 1));
            if end.is_some() || length == 0 {
                return Ok(end.is_some());
            }
        }
    }

    /// Goes to the end.
    pub fn pass(&mut self) -> io::Result<()> {
        while !self.fill(CHUNK)?.is_empty() {
            self.at = self.bytes.len();
        }
        Ok(())
    }

    /// All that follows, if that is no more than `most` bytes.
    pub fn take_rest(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        self.fill(most.saturating_add(1))?;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..std::mem::take(&mut self.at));
        Ok(Some(bytes).filter(|bytes| bytes.len() <= most))
    }

    /// The line that the next byte stands on, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Bytes before the next one on its line.
    pub fn column(&self) -> usize {
        self.column
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_over_any_pieces() {
        let text = "ab\n\n  cd\nlong line".repeat(20_000);
        for piece in [1, 7, CHUNK] {
            let mut window = Window::new(text.as_bytes());
            let mut taken = 0;
            while taken < text.len() / piece * piece {
                assert!(window.fill(piece).unwrap().len() >= piece);
                window.take(piece);
                taken += piece;
                let before = &text[..taken];
                if taken % 4099 < piece {
                    assert_eq!(window.line(), before.matches('\n').count() + 1);
                    assert_eq!(
                        window.column(),
                        before.len() - before.rfind('\n').map_or(0, |at| at + 1)
                    );
                }
            }
        }
    }

    #[test]
    fn white_space_and_lines_are_passed_over() {
        let text = format!("{}x\n{}\ny", " \n".repeat(CHUNK), "z".repeat(3 * CHUNK));
        let mut window = Window::new(text.as_bytes());
        assert_eq!(window.take_space().unwrap(), Some(b'x'));
        assert_eq!((window.line(), window.column()), (CHUNK + 1, 0));
        assert!(window.take_line().unwrap() && window.take_line().unwrap());
        assert_eq!(window.fill(2).unwrap(), b"y");
        assert!(!window.take_line().unwrap());
        assert_eq!((window.take_space().unwrap(), window.is_last()), (None, true));
    }
}
