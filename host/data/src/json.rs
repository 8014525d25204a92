//! Records from JSON Lines and from a JSON array, each with the line it starts on.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{Error, Place, Result};
use super::visit::Visit;

/// Calls `visit` for every object of a JSON Lines file. Blank lines are skipped.
pub(super) fn lines(file: &Arc<Path>, bytes: &[u8], visit: Visit<'_>) -> Result<()> {
    for (index, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let place = Place::line(file, index + 1);
        let text = std::str::from_utf8(raw)
            .map_err(|error| Error::Utf8 { place: place.clone(), byte: error.valid_up_to() + 1 })?;
        if text.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(text).map_err(|error| bad_json(place.clone(), &error))?;
        let object = object(&place, value)?;
        visit(place, object)?;
    }
    Ok(())
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
        let object = object(&place, value)?;
        visit(place, object)?;
        if scan.expect(&[',', ']'])? == ']' {
            return scan.end();
        }
    }
}

fn object(place: &Place, value: Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(Error::NotObject { place: place.clone(), found: kind(&other) }),
    }
}

/// What a JSON value is, for error messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
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
        match self.peek() {
            Some('{') => {}
            Some(_) => {
                return Err(Error::NotObject { place: self.place(), found: "something else" });
            }
            None => {
                return Err(
                    self.unexpected("the file ends before the array is closed with `]`".into())
                );
            }
        }
        let place = self.place();
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
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
