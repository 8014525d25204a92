//! Records from fields with separators between them (RFC 4180): CSV and TSV. The first line names the columns.

use std::collections::HashSet;
use std::fmt;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::{Map, Value};

use super::error::{Error, Place, Result};
use super::input::Input;
use super::json::LONGEST_ROW;
use super::shape;
use super::visit::Visit;
use host_files::text;

/// Bytes that are parsed at once.
const CHUNK: usize = 64 << 10;
/// More names than that are no header.
const MOST_COLUMNS: usize = 4096;

/// What stands between two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    Comma,
    Semicolon,
    Tab,
}

impl Separator {
    const ALL: [Self; 3] = [Self::Comma, Self::Tab, Self::Semicolon];

    fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// The one that makes the names of a row of the first line of a text, if one does.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = std::str::from_utf8(line).ok()?;
        let makes_a_row = |separator: &Self| {
            let names = line.split(char::from(separator.byte()));
            let names: Vec<&str> = names.map(|name| name.trim().trim_matches('"')).collect();
            shape::has_shape(&names)
        };
        Self::ALL.into_iter().find(makes_a_row)
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Comma => "CSV",
            Self::Semicolon => "CSV with semicolons",
            Self::Tab => "TSV",
        })
    }
}

/// Calls `visit` for every row behind the header.
pub(super) fn rows(input: &mut Input<'_>, separator: Separator, visit: Visit<'_>) -> Result<()> {
    let mut table = Table {
        reader: ReaderBuilder::new().delimiter(separator.byte()).build(),
        text: vec![0; CHUNK],
        ends: vec![0; 256],
        fields: 0,
    };
    if table.next(input)?.is_none() {
        return Ok(());
    }
    let names = names(input, &table)?;
    while let Some(place) = table.next(input)? {
        let record = record(&place, &names, &table);
        visit(place, record)?;
    }
    Ok(())
}

fn names(input: &Input<'_>, table: &Table) -> Result<Vec<String>> {
    let wrong = |what: String| Error::Header { file: input.name.to_path_buf(), what };
    let mut names = Vec::new();
    let mut known = HashSet::new();
    for (number, field) in table.fields().enumerate() {
        let name = std::str::from_utf8(field)
            .map_err(|_| wrong("has names of columns that are no UTF-8".into()))?
            .trim();
        // The numbers of rows that some writers add.
        let name = if name.is_empty() { format!("column {}", number + 1) } else { name.to_owned() };
        if !known.insert(name.clone()) {
            return Err(wrong(format!("has two columns `{}`", text::name(&name))));
        }
        names.push(name);
    }
    if names.len() > MOST_COLUMNS {
        return Err(wrong(format!("names more than {MOST_COLUMNS} columns")));
    }
    Ok(names)
}

fn record(place: &Place, names: &[String], table: &Table) -> Result<Map<String, Value>> {
    if table.fields != names.len() {
        let (found, expected) = (table.fields, names.len());
        return Err(Error::Ragged { place: place.clone(), found, expected });
    }
    let value = |(name, field): (&String, &[u8])| {
        let text = std::str::from_utf8(field)
            .map_err(|_| Error::FieldUtf8 { place: place.clone(), field: text::name(name) })?;
        Ok((name.clone(), value(name, text)))
    };
    names.iter().zip(table.fields()).map(value).collect()
}

/// A list can't be told in a field but as JSON. A field that is empty says nothing, except where it is what a row is
/// made of.
fn value(name: &str, text: &str) -> Value {
    match text.trim_start().bytes().next() {
        None if !shape::is_of_pair(name) => Value::Null,
        Some(b'[' | b'{') if shape::is_list_key(name) => {
            serde_json::from_str(text).map_or_else(|_| text.into(), |super::unique::Unique(it)| it)
        }
        _ => text.into(),
    }
}

/// The reader and the record that it stands on.
struct Table {
    reader: Reader,
    text: Vec<u8>,
    /// Where each field ends in `text`.
    ends: Vec<usize>,
    fields: usize,
}

impl Table {
    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).take(self.fields).map(|(start, end)| &self.text[start..*end])
    }

    /// Goes to the next record and says where it begins.
    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Place>> {
        while let Some(b'\r' | b'\n') = input.fill(1)?.first() {
            input.window.take(1);
        }
        let place = input.place();
        let (mut length, mut quotes, mut at) = (0, 0, 0);
        self.fields = 0;
        loop {
            let next = input.fill(1)?;
            let next = &next[..next.len().min(CHUNK)];
            let is_end = next.is_empty();
            let (text, ends) = (&mut self.text[at..], &mut self.ends[self.fields..]);
            let (result, read, written, ended) = self.reader.read_record(next, text, ends);
            quotes += next[..read].iter().filter(|byte| **byte == b'"').count();
            (length, at, self.fields) = (length + read, at + written, self.fields + ended);
            input.window.take(read);
            let is_open = quotes % 2 == 1;
            if length > LONGEST_ROW {
                // Nobody knows where the next row begins.
                let limit = LONGEST_ROW >> 20;
                return Err(if is_open {
                    Error::OpenQuote { place }
                } else {
                    Error::LongRow { place, limit }
                });
            }
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record if is_end && is_open => {
                    return Err(Error::OpenQuote { place });
                }
                ReadRecordResult::Record => return Ok(Some(place)),
                ReadRecordResult::End => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
#[path = "delimited_tests.rs"]
mod tests;
