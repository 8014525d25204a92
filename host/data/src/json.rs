//! Records from JSON Lines and from a JSON array, each with the line it starts on.

use serde_json::{Map, Value};

use super::error::{Error, Place, Result};
use super::input::Input;
use super::shown::kind;
use super::unique::Unique;
use super::visit::Visit;

/// Bytes of one row: a book. In memory it takes up to thirty times as much.
pub(super) const LONGEST_ROW: usize = 16 << 20;

/// Calls `visit` for every object of a JSON Lines file. Blank lines are skipped, and an
/// object may go over several lines.
pub(super) fn lines(input: &mut Input<'_>, visit: Visit<'_>) -> Result<()> {
    while let Some(length) = input.line_length(LONGEST_ROW)? {
        let place = input.place();
        if length > LONGEST_ROW {
            input.take_line()?;
            visit(place.clone(), Err(long(&place)))?;
            continue;
        }
        let (record, used) = match std::str::from_utf8(&input.window.rest()[..length]) {
            Err(error) => {
                let byte = error.valid_up_to() + 1;
                (Some(Err(Error::Utf8 { place: place.clone(), byte })), length)
            }
            Ok(text) if text.trim().is_empty() => (None, length),
            Ok(text) => match serde_json::from_str(text) {
                Ok(Unique(value)) => (Some(object(&place, value)), length),
                Err(error) => match over_lines(input, &error)? {
                    Some((value, length)) => (Some(Ok(value)), length),
                    None => (Some(Err(bad_json(place.clone(), &error))), length),
                },
            },
        };
        input.window.take(used);
        if let Some(record) = record {
            visit(place, record)?;
        }
    }
    Ok(())
}

/// The object that comes next and the bytes of its lines, where its first line ended too
/// early.
fn over_lines(
    input: &mut Input<'_>,
    error: &serde_json::Error,
) -> Result<Option<(Map<String, Value>, usize)>> {
    if !error.is_eof() {
        return Ok(None);
    }
    let rest = input.fill(LONGEST_ROW)?;
    let within = &rest[..rest.len().min(LONGEST_ROW)];
    let mut values = serde_json::Deserializer::from_slice(within).into_iter();
    let Some(Ok(Unique(Value::Object(value)))) = values.next() else {
        return Ok(None);
    };
    let end = values.byte_offset();
    let line_end = within[end..].iter().position(|byte| *byte == b'\n');
    let line_end = line_end.map_or(within.len(), |at| end + at + 1);
    Ok(within[end..line_end].trim_ascii().is_empty().then_some((value, line_end)))
}

/// Calls `visit` for every object of a JSON array.
pub(super) fn array(input: &mut Input<'_>, visit: Visit<'_>) -> Result<()> {
    let mut scan = Scan { input };
    scan.expect(b"[")?;
    if scan.input.take_space()? == Some(b']') {
        scan.expect(b"]")?;
        return scan.end();
    }
    loop {
        let (place, value) = scan.value()?;
        let object = object(&place, value);
        visit(place, object)?;
        if scan.expect(b",]")? == b']' {
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

/// A file that holds an array, up to where it was read.
struct Scan<'i, 'a> {
    input: &'i mut Input<'a>,
}

impl Scan<'_, '_> {
    fn expect(&mut self, wanted: &[u8]) -> Result<u8> {
        match self.input.take_space()? {
            Some(found) if wanted.contains(&found) => {
                self.input.window.take(1);
                Ok(found)
            }
            Some(_) => {
                let next = String::from_utf8_lossy(self.input.fill(4)?);
                let found = next.chars().next().unwrap_or_default();
                let wanted = char::from(wanted[0]);
                let found = found.escape_debug();
                Err(self.unexpected(format!("found `{found}` where `{wanted}` should be")))
            }
            None => Err(self.unclosed()),
        }
    }

    fn end(&mut self) -> Result<()> {
        match self.input.take_space()? {
            None => Ok(()),
            Some(_) => Err(self.unexpected("there is text after the array's closing `]`".into())),
        }
    }

    fn value(&mut self) -> Result<(Place, Value)> {
        if self.input.take_space()?.is_none() {
            return Err(self.unclosed());
        }
        let place = self.input.place();
        if self.input.window.rest().len() < LONGEST_ROW {
            self.input.fill(2 * LONGEST_ROW)?;
        }
        let window = &self.input.window;
        let within = &window.rest()[..window.rest().len().min(LONGEST_ROW)];
        let is_cut = within.len() < window.rest().len() || !window.is_last();
        let mut values = serde_json::Deserializer::from_slice(within).into_iter();
        match values.next() {
            Some(Err(error)) if is_cut && error.is_eof() => Err(long(&place)),
            Some(Ok(Unique(value))) => {
                let used = values.byte_offset();
                self.input.window.take(used);
                Ok((place, value))
            }
            Some(Err(error)) => {
                if let Some(error) = self.bad_text(within, error.line()) {
                    return Err(error);
                }
                let line = place.number + error.line().saturating_sub(1);
                Err(bad_json(Place::line(&place.file, line), &error))
            }
            None => Err(self.unexpected("the array has no value here".into())),
        }
    }

    /// That what comes next is no UTF-8, within its first `lines` lines.
    fn bad_text(&self, within: &[u8], lines: usize) -> Option<Error> {
        let error = std::str::from_utf8(within).err()?;
        let good = &within[..error.valid_up_to()];
        let before = good.iter().filter(|byte| **byte == b'\n').count();
        // A letter may go on behind what is in memory.
        let is_cut = error.error_len().is_none() && !self.input.window.is_last();
        if before >= lines || is_cut {
            return None;
        }
        let start = good.iter().rposition(|byte| *byte == b'\n');
        let byte = start.map_or(self.input.window.column() + good.len(), |at| good.len() - at - 1);
        let line = self.input.window.line() + before;
        Some(Error::Utf8 { place: Place::line(&self.input.name, line), byte: byte + 1 })
    }

    fn unclosed(&self) -> Error {
        self.unexpected("the file ends before the array is closed with `]`".into())
    }

    fn unexpected(&self, message: String) -> Error {
        Error::Json { place: self.input.place(), message }
    }
}
