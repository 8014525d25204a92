//! Parquet decoded: a file to its rows as records, with columns that no row can hold left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ranges::Ranges;
use crate::pieces::Pieces;
use crate::shape;
use host_files::{quiet, text};

/// What keeps a file, or one of its rows, from being read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Fault {
    /// The file is damaged, or not of its kind.
    Broken(String),
    /// A column is of a type that it must not have.
    Column { column: String, found: String, text: bool },
    /// A text is no UTF-8 from this byte on.
    Utf8(usize),
    /// A value has no counterpart in a row.
    Field { field: String, found: String },
}

type Result<T> = std::result::Result<T, Fault>;

/// A row as a record. Its fault is the row's alone; the next one can be read.
pub type Record = Result<Map<String, Value>>;

/// An opened file.
pub struct Table {
    rows: RowIter<'static>,
    not_text: Vec<(String, String)>,
    /// Columns that no row can hold.
    pub unread: BTreeSet<String>,
}

impl Table {
    /// Reads what is at the end of the file.
    pub fn open(pieces: Arc<dyn Pieces>) -> Result<Self> {
        let reader = guarded(|| SerializedFileReader::new(Ranges(pieces)))?;
        let mut unread = BTreeSet::new();
        let columns = columns(reader.metadata().file_metadata().schema(), &mut unread)?;
        let rows =
            guarded(|| RowIter::from_file_into(Box::new(reader)).project(Some(columns.readable)))?;
        Ok(Self { rows, not_text: columns.not_text, unread })
    }

    /// The next row.
    pub fn next(&mut self) -> Result<Option<Record>> {
        let Some(row) = guarded(|| self.rows.next().transpose())? else { return Ok(None) };
        let record = record("", row);
        for (column, found) in &self.not_text {
            let value = record.as_ref().ok().and_then(|record| record.get(column));
            if value.is_some_and(|value| !value.is_null()) {
                let (column, found) = (column.clone(), found.clone());
                return Err(Fault::Column { column, found, text: true });
            }
        }
        Ok(Some(record))
    }
}

/// Runs a step of the reader, which answers some damaged files with a panic.
fn guarded<T>(step: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let broken = |why: String| Fault::Broken(format!("not readable as Parquet: {why}"));
    match quiet::catch(step) {
        Ok(result) => result.map_err(|error| broken(error.to_string())),
        Err(_) => Err(broken("its contents are damaged".into())),
    }
}

/// The columns of a file.
struct Columns {
    readable: Type,
    /// Columns that should be text and are something else, with their types: of a column
    /// that holds nothing but nulls, some writers say that it is one of numbers.
    not_text: Vec<(String, String)>,
}

fn columns(schema: &Type, unread: &mut BTreeSet<String>) -> Result<Columns> {
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
        readable.extend(pruned(column, text::name(name), unread)?);
    }
    let builder = Type::group_type_builder(schema.name()).with_fields(readable);
    let readable = builder.build().map_err(|error| Fault::Broken(error.to_string()))?;
    Ok(Columns { readable, not_text })
}

/// A column without the parts whose type has no counterpart in a row; `path` is how the
/// column is told of. What makes a row must be readable.
fn pruned(
    column: &Arc<Type>,
    path: String,
    unread: &mut BTreeSet<String>,
) -> Result<Option<Arc<Type>>> {
    if column.is_primitive() {
        if is_plain(column) {
            return Ok(Some(Arc::clone(column)));
        }
        if shape::makes_a_row(&path) {
            return Err(Fault::Column { column: path, found: type_name(column), text: false });
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
        fields.extend(pruned(field, path, unread)?);
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
    let built = builder.build().map_err(|error| Fault::Broken(error.to_string()))?;
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
fn record(parent: &str, row: Row) -> Record {
    let columns = row.into_columns().into_iter();
    columns
        .filter(|(_, field)| parent.is_empty() || !matches!(field, Field::Null))
        .map(|(name, field)| {
            let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            Ok((name, value(&path, field)?))
        })
        .collect()
}

fn value(path: &str, field: Field) -> Result<Value> {
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
                return Err(Fault::Utf8(error.valid_up_to() + 1));
            }
        },
        Field::Group(row) => Value::Object(record(path, row)?),
        Field::ListInternal(list) => list
            .elements()
            .iter()
            .map(|element| value(path, element.clone()))
            .collect::<Result<Vec<_>>>()?
            .into(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter().map(|(key, field)| {
                let key = match key {
                    Field::Str(key) => key.clone(),
                    other => other.to_string(),
                };
                Ok((key, value(path, field.clone())?))
            });
            Value::Object(entries.collect::<Result<_>>()?)
        }
        other => {
            return Err(Fault::Field { field: path.into(), found: other.to_string() });
        }
    })
}
