//! Records from Parquet. Columns whose type no row can hold are left out and told.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Once};

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::error::{Error, Place, Result};
use super::shape;
use super::visit::Visit;
use host_files::text;

/// Calls `visit` for every row of a Parquet file. Adds the columns that can't be read to
/// `unread`.
pub(super) fn rows(
    file: &Arc<Path>,
    bytes: Vec<u8>,
    unread: &mut BTreeSet<String>,
    visit: Visit<'_>,
) -> Result<()> {
    let reader = guarded(file, || SerializedFileReader::new(bytes::Bytes::from(bytes)))?;
    let columns = columns(file, reader.metadata().file_metadata().schema(), unread)?;
    let mut rows = guarded(file, || RowIter::from_file(Some(columns.readable), &reader))?;
    let mut number = 0;
    while let Some(row) = guarded(file, || rows.next().transpose())? {
        number += 1;
        let place = Place::row(file, number);
        let record = record(&place, "", row);
        for (column, found) in &columns.not_text {
            let value = record.as_ref().ok().and_then(|record| record.get(column));
            if value.is_some_and(|value| !value.is_null()) {
                return Err(wrong_column(file, column, found.clone(), "text"));
            }
        }
        visit(place, record)?;
    }
    Ok(())
}

/// Runs a step of the reader. The parquet crate answers some damaged files with a
/// panic, which becomes an error here and prints nothing.
fn guarded<T>(file: &Arc<Path>, step: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let broken = |why: String| Error::Parquet {
        file: file.to_path_buf(),
        message: format!("not readable as Parquet: {why}"),
    };
    SILENCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !READING.get() {
                loud(info);
            }
        }));
    });
    READING.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(step));
    READING.set(false);
    match outcome {
        Ok(result) => result.map_err(|error| broken(error.to_string())),
        Err(_) => Err(broken("its contents are damaged".into())),
    }
}

static SILENCE: Once = Once::new();

thread_local! {
    /// Whether this thread is inside the parquet crate.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// The columns of a file.
struct Columns {
    readable: Type,
    /// Columns that should be text and are something else, with their types: of a column
    /// that holds nothing but nulls, some writers say that it is one of numbers.
    not_text: Vec<(String, String)>,
}

fn columns(file: &Arc<Path>, schema: &Type, unread: &mut BTreeSet<String>) -> Result<Columns> {
    let mut readable = Vec::new();
    let mut not_text = Vec::new();
    for column in schema.get_fields() {
        let name = column.name();
        if shape::is_text_key(name)
            && column.is_primitive()
            && column.get_physical_type() != Physical::BYTE_ARRAY
        {
            not_text.push((name.to_owned(), type_name(column)));
        }
        readable.extend(pruned(file, column, text::name(name), unread)?);
    }
    let builder = Type::group_type_builder(schema.name()).with_fields(readable);
    let readable = builder
        .build()
        .map_err(|error| Error::Parquet { file: file.to_path_buf(), message: error.to_string() })?;
    Ok(Columns { readable, not_text })
}

fn wrong_column(file: &Arc<Path>, column: &str, found: String, expected: &'static str) -> Error {
    Error::Column { file: file.to_path_buf(), column: column.into(), found, expected }
}

/// A column without the parts whose type has no counterpart in a row; `path` is how the
/// column is told of. What makes a row must be readable.
fn pruned(
    file: &Arc<Path>,
    column: &Arc<Type>,
    path: String,
    unread: &mut BTreeSet<String>,
) -> Result<Option<Arc<Type>>> {
    if column.is_primitive() {
        if is_plain(column) {
            return Ok(Some(Arc::clone(column)));
        }
        if shape::makes_a_row(&path) {
            let expected = "text, a number, true/false, or a list of such records";
            return Err(wrong_column(file, &path, type_name(column), expected));
        }
        unread.insert(path);
        return Ok(None);
    }
    let info = column.get_basic_info();
    let kind = info.converted_type();
    let mut fields = Vec::new();
    for field in column.get_fields() {
        let is_list = kind == ConvertedType::LIST;
        let repeated = field.get_basic_info().has_repetition()
            && field.get_basic_info().repetition() == Repetition::REPEATED;
        // A list is a group of one repeated group of one element.
        let path = match (is_list, repeated, path.ends_with("[]")) {
            (true, true, _) => format!("{path}[]"),
            (false, false, true) if column.get_fields().len() == 1 && !field.is_primitive() => {
                path.clone()
            }
            _ => format!("{path}.{}", text::name(field.name())),
        };
        fields.extend(pruned(file, field, path, unread)?);
    }
    let is_whole = fields.len() == column.get_fields().len();
    let is_map = [ConvertedType::MAP, ConvertedType::MAP_KEY_VALUE].contains(&kind);
    if fields.is_empty() || (is_map && !is_whole) {
        unread.insert(path);
        return Ok(None);
    }
    let mut builder = Type::group_type_builder(column.name())
        .with_converted_type(kind)
        .with_logical_type(info.logical_type_ref().cloned())
        .with_fields(fields);
    if info.has_repetition() {
        builder = builder.with_repetition(info.repetition());
    }
    let built = builder
        .build()
        .map_err(|error| Error::Parquet { file: file.to_path_buf(), message: error.to_string() })?;
    Ok(Some(Arc::new(built)))
}

/// Whether a leaf has a counterpart in a row.
fn is_plain(column: &Type) -> bool {
    matches!(
        (column.get_physical_type(), column.get_basic_info().converted_type()),
        (Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE, _)
            | (
                Physical::INT32 | Physical::INT64,
                ConvertedType::NONE
                    | ConvertedType::INT_8
                    | ConvertedType::INT_16
                    | ConvertedType::INT_32
                    | ConvertedType::INT_64
                    | ConvertedType::UINT_8
                    | ConvertedType::UINT_16
                    | ConvertedType::UINT_32
                    | ConvertedType::UINT_64
            )
            | (
                Physical::BYTE_ARRAY,
                ConvertedType::NONE
                    | ConvertedType::UTF8
                    | ConvertedType::ENUM
                    | ConvertedType::JSON
            )
    )
}

fn type_name(column: &Type) -> String {
    match column.get_basic_info().converted_type() {
        ConvertedType::NONE => column.get_physical_type().to_string(),
        converted => format!("{} ({converted})", column.get_physical_type()),
    }
}

/// A null inside of a column is how an absent key is stored, since all its records have
/// the same keys.
fn record(place: &Place, parent: &str, row: Row) -> Result<Map<String, Value>> {
    let columns = row.into_columns().into_iter();
    columns
        .filter(|(_, field)| parent.is_empty() || !matches!(field, Field::Null))
        .map(|(name, field)| {
            let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            Ok((name, value(place, &path, field)?))
        })
        .collect()
}

fn value(place: &Place, path: &str, field: Field) -> Result<Value> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float(value) => value.into(),
        Field::Double(value) => value.into(),
        Field::Str(value) => value.into(),
        Field::Bytes(value) => match std::str::from_utf8(value.data()) {
            Ok(text) => text.into(),
            Err(error) => {
                return Err(Error::Utf8 { place: place.clone(), byte: error.valid_up_to() + 1 });
            }
        },
        Field::Group(row) => Value::Object(record(place, path, row)?),
        Field::ListInternal(list) => list
            .elements()
            .iter()
            .map(|element| value(place, path, element.clone()))
            .collect::<Result<Vec<_>>>()?
            .into(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter().map(|(key, field)| {
                let key = match key {
                    Field::Str(key) => key.clone(),
                    other => other.to_string(),
                };
                Ok((key, value(place, path, field.clone())?))
            });
            Value::Object(entries.collect::<Result<_>>()?)
        }
        other => {
            return Err(Error::Field {
                place: place.clone(),
                field: path.into(),
                found: other.to_string(),
                expected: "text, a number, a list or a record",
            });
        }
    })
}
