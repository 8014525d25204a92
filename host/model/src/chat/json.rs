//! The `tojson` filter as transformers defines it: Python's `json.dumps` with `ensure_ascii`, `indent`, `separators`
//! and `sort_keys`; nothing is escaped for HTML.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use serde::Serialize as _;
use serde_json::ser::{Formatter, Serializer};
use std::io::{Result as IoResult, Write};

type Filtered = Result<Value, Error>;

fn refused(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadSerialization, problem.into())
}

/// The filter; its arguments are those of transformers' `tojson`, of which the last two must be named.
pub fn filter(
    value: &Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    named: Kwargs,
) -> Filtered {
    let argument = |given: Option<Value>, name: &str| -> Result<Value, Error> {
        let value = given.map_or_else(|| named.get::<Option<Value>>(name), |value| Ok(Some(value)));
        Ok(value?.unwrap_or_default())
    };
    let ascii = argument(ensure_ascii, "ensure_ascii")?.is_true();
    let indent = indentation(&argument(indent, "indent")?)?;
    let separators = argument(None, "separators")?;
    let sorted = argument(None, "sort_keys")?.is_true();
    named.assert_all_used()?;
    if value.is_undefined() {
        return Err(refused("tojson is given what isn't defined"));
    }
    let mut json =
        serde_json::to_value(value).map_err(|error| refused(format!("tojson: {error}")))?;
    if sorted {
        json.sort_all_objects();
    }
    let mut style = Style::new(ascii, indent);
    if !separators.is_none() && !separators.is_undefined() {
        style.item = text_at(&separators, 0)?;
        style.key = text_at(&separators, 1)?;
    }
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, style);
    json.serialize(&mut serializer).map_err(|error| refused(format!("tojson: {error}")))?;
    Ok(Value::from_safe_string(String::from_utf8_lossy(&out).into_owned()))
}

/// Text of one level: a number of spaces or a string.
fn indentation(value: &Value) -> Result<Option<String>, Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => Ok(None),
        ValueKind::String => Ok(value.as_str().map(str::to_owned)),
        // What is more than any template means would only fill memory.
        _ => Ok(Some(
            " ".repeat(usize::try_from(i64::try_from(value.clone())?.clamp(0, 64)).unwrap_or(0)),
        )),
    }
}

fn text_at(list: &Value, index: usize) -> Result<String, Error> {
    let item = list.get_item_by_index(index)?;
    item.as_str().map(str::to_owned).ok_or_else(|| refused("separators of tojson are two strings"))
}

/// How Python lays JSON out.
struct Style {
    ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    depth: usize,
    /// Whether the innermost list or object has anything in it.
    filled: bool,
}

impl Style {
    fn new(ascii: bool, indent: Option<String>) -> Self {
        let item = if indent.is_some() { "," } else { ", " };
        Self { ascii, indent, item: item.into(), key: ": ".into(), depth: 0, filled: false }
    }

    fn line<W: ?Sized + Write>(&self, writer: &mut W) -> IoResult<()> {
        let Some(indent) = &self.indent else { return Ok(()) };
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(indent.as_bytes()))
    }

    fn open<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> IoResult<()> {
        self.depth += 1;
        self.filled = false;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> IoResult<()> {
        self.depth -= 1;
        if self.filled {
            self.line(writer)?;
        }
        self.filled = true;
        writer.write_all(bracket)
    }

    fn next<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> IoResult<()> {
        if !first {
            writer.write_all(self.item.as_bytes())?;
        }
        self.filled = true;
        self.line(writer)
    }
}

impl Formatter for Style {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> IoResult<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> IoResult<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> IoResult<()> {
        self.next(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> IoResult<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> IoResult<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> IoResult<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> IoResult<()> {
        self.next(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> IoResult<()> {
        writer.write_all(self.key.as_bytes())
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> IoResult<()> {
        self.filled = true;
        Ok(())
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> IoResult<()> {
        writer.write_all(python_float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        text: &str,
    ) -> IoResult<()> {
        if !self.ascii {
            return writer.write_all(text.as_bytes());
        }
        for c in text.chars() {
            if c.is_ascii() && c != '\u{7f}' {
                writer.write_all(&[c as u8])?;
            } else {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

/// `repr` of a float: the shortest digits, with an exponent from 1e16 and below 1e-4.
fn python_float(value: f64) -> String {
    let text = format!("{value:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_does() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (-2.5e300, "-2.5e+300"),
            (123_456_789.25, "123456789.25"),
            (1e15, "1000000000000000.0"),
            (0.0, "0.0"),
        ] {
            assert_eq!(python_float(value), text);
        }
    }
}
