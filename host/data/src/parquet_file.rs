//! Records from Parquet: only the columns that a row shape knows are read.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Once};

use parquet::basic::{ConvertedType, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::error::{Error, Place, Result};
use super::shape;
use super::visit::Visit;

/// Calls `visit` for every row of a Parquet file.
pub(super) fn rows(file: &Arc<Path>, bytes: Vec<u8>, visit: Visit<'_>) -> Result<()> {
    let reader = guarded(file, || SerializedFileReader::new(bytes::Bytes::from(bytes)))?;
    let projection = known_columns(file, reader.metadata().file_metadata().schema())?;
    let mut rows = guarded(file, || RowIter::from_file(Some(projection), &reader))?;
    let mut number = 0;
    while let Some(row) = guarded(file, || rows.next().transpose())? {
        number += 1;
        let place = Place::row(file, number);
        let record = record(&place, "", row)?;
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

/// The schema cut down to the columns that mean something to us, each of a type
/// that can be read.
fn known_columns(file: &Arc<Path>, schema: &Type) -> Result<Type> {
    let known: Vec<_> = schema
        .get_fields()
        .iter()
        .filter(|column| shape::KNOWN_KEYS.contains(&column.name()))
        .cloned()
        .collect();
    if known.is_empty() {
        let names: Vec<&str> = schema.get_fields().iter().map(|column| column.name()).collect();
        return Err(shape::unknown_keys(Place::row(file, 1), &names));
    }
    for column in &known {
        check_column(file, column)?;
    }
    Type::group_type_builder(schema.name())
        .with_fields(known)
        .build()
        .map_err(|error| Error::Parquet { file: file.to_path_buf(), message: error.to_string() })
}

fn check_column(file: &Arc<Path>, column: &Type) -> Result<()> {
    let name = column.name();
    let wrong = |found: String, expected| {
        Err(Error::Column { file: file.to_path_buf(), column: name.into(), found, expected })
    };
    if shape::CHAT_KEYS.contains(&name) && column.is_primitive() {
        return wrong(type_name(column), "a list of {role, content}");
    }
    if shape::is_text_key(name)
        && column.is_primitive()
        && column.get_physical_type() != Physical::BYTE_ARRAY
    {
        return wrong(type_name(column), "text");
    }
    match unreadable(column) {
        Some(found) => wrong(found, "text, a number, true/false, or a list of such records"),
        None => Ok(()),
    }
}

/// The first leaf of a type that has no counterpart in a row.
fn unreadable(column: &Type) -> Option<String> {
    if !column.is_primitive() {
        return column.get_fields().iter().find_map(|field| unreadable(field));
    }
    let plain = matches!(
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
    );
    if plain { None } else { Some(type_name(column)) }
}

fn type_name(column: &Type) -> String {
    match column.get_basic_info().converted_type() {
        ConvertedType::NONE => column.get_physical_type().to_string(),
        converted => format!("{} ({converted})", column.get_physical_type()),
    }
}

fn record(place: &Place, parent: &str, row: Row) -> Result<Map<String, Value>> {
    row.into_columns()
        .into_iter()
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
