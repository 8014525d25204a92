//! Records from JSON Lines and from a JSON array, each with the line it starts on.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{Error, Place, Result};
use super::shown::kind;
use super::unique::Unique;
use super::visit::Visit;

/// Bytes of one row: a book. In memory it takes up to thirty times as much.
pub(super) const LONGEST_ROW: usize = 16 << 20;

/// Calls `visit` for every object of a JSON Lines file. Blank lines are skipped, and an
/// object may go over several lines.
pub(super) fn lines(file: &Arc<Path>, bytes: &[u8], visit: Visit<'_>) -> Result<()> {
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let place = Place::line(file, line);
        let mut used = length;
        let record = match std::str::from_utf8(&rest[..length]) {
            _ if length > LONGEST_ROW => Some(Err(long(&place))),
            Err(error) => {
                Some(Err(Error::Utf8 { place: place.clone(), byte: error.valid_up_to() + 1 }))
            }
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(match serde_json::from_str(text) {
                Ok(Unique(value)) => object(&place, value),
                Err(error) => match over_lines(rest, &error) {
                    Some((value, length)) => {
                        used = length;
                        Ok(value)
                    }
                    None => Err(bad_json(place.clone(), &error)),
                },
            }),
        };
        at += used;
        line += rest[..used].iter().filter(|byte| **byte == b'\n').count();
        if let Some(record) = record {
            visit(place, record)?;
        }
    }
    Ok(())
}

/// The object that `rest` starts with and the bytes of its lines, where its first line
/// ended too early.
fn over_lines(rest: &[u8], error: &serde_json::Error) -> Option<(Map<String, Value>, usize)> {
    if !error.is_eof() {
        return None;
    }
    let within = &rest[..rest.len().min(LONGEST_ROW)];
    let mut values = serde_json::Deserializer::from_slice(within).into_iter();
    let Unique(Value::Object(value)) = values.next()?.ok()? else {
        return None;
    };
    let end = values.byte_offset();
    let line_end = rest[end..].iter().position(|byte| *byte == b'\n');
    let line_end = line_end.map_or(rest.len(), |at| end + at + 1);
    rest[end..line_end].trim_ascii().is_empty().then_some((value, line_end))
}

/// Calls `visit` for every object of a JSON array.
pub(super) fn array(file: &Arc<Path>, bytes: &[u8], visit: Visit<'_>) -> Result<()> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::Utf8 { place: Place::line(file, line), byte: good.len() - line_start + 1 }
    })?;
    let mut scan = Scan { file, text, at: 0, line: 1 };
    scan.expect(&['['])?;
    if scan.peek() == Some(']') {
        scan.expect(&[']'])?;
        return scan.end();
    }
    loop {
        let (place, value) = scan.value()?;
        let object = object(&place, value);
        visit(place, object)?;
        if scan.expect(&[',', ']'])? == ']' {
            return scan.end();
        }
    }
}

fn long(place: &Place) -> Error {
    Error::LongRow { place: place.clone(), limit: LONGEST_ROW >> 20 }
}

fn object(place: &Place, value: Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(Error::NotObject { place: place.clone(), found: kind(&other) }),
    }
}

/// The parser's own words, without its position, which counts within the record.
fn bad_json(place: Place, error: &serde_json::Error) -> Error {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    Error::Json { place, message: format!("{words} (column {})", error.column()) }
}

/// A position in the text of an array, with the line it is on.
struct Scan<'a> {
    file: &'a Arc<Path>,
    text: &'a str,
    at: usize,
    line: usize,
}

impl Scan<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn place(&self) -> Place {
        Place::line(self.file, self.line)
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.text.as_bytes()[self.at..self.at + bytes];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at += bytes;
    }

    /// The next character that isn't white space; the position moves up to it.
    fn peek(&mut self) -> Option<char> {
        let space = self.rest().len() - self.rest().trim_start().len();
        self.advance(space);
        self.rest().chars().next()
    }

    fn expect(&mut self, wanted: &[char]) -> Result<char> {
        let found = self.peek();
        match found {
            Some(found) if wanted.contains(&found) => {
                self.advance(found.len_utf8());
                Ok(found)
            }
            Some(found) => {
                Err(self.unexpected(format!("found `{found}` where `{}` should be", wanted[0])))
            }
            None => {
                Err(self.unexpected("the file ends before the array is closed with `]`".into()))
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("there is text after the array's closing `]`".into())),
        }
    }

    fn value(&mut self) -> Result<(Place, Value)> {
        if self.peek().is_none() {
            return Err(self.unexpected("the file ends before the array is closed with `]`".into()));
        }
        let place = self.place();
        let within = &self.rest()[..self.rest().floor_char_boundary(LONGEST_ROW)];
        let is_cut = within.len() < self.rest().len();
        let mut values = serde_json::Deserializer::from_str(within).into_iter();
        match values.next() {
            Some(Err(error)) if is_cut && error.is_eof() => Err(long(&place)),
            Some(Ok(Unique(value))) => {
                let used = values.byte_offset();
                self.advance(used);
                Ok((place, value))
            }
            Some(Err(error)) => {
                let line = self.line + error.line().saturating_sub(1);
                Err(bad_json(Place::line(self.file, line), &error))
            }
            None => Err(self.unexpected("the array has no value here".into())),
        }
    }

    fn unexpected(&self, message: String) -> Error {
        Error::Json { place: self.place(), message }
    }
}
