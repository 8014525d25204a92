//! Dicts, lists and numbers of Python to records of the contract, and back.

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyDict, PyDictMethods, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

/// Deeper than any record of the contract, and shallow enough for any stack.
const DEEPEST: usize = 64;

/// What can't be taken, beginning with its place.
pub type Problem = String;

/// A record as a dict, with lists in place of arrays.
///
/// # Errors
/// None for what has a JSON.
pub fn to_python<'py>(py: Python<'py>, record: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize::pythonize(py, record)?)
}

/// The record that a dict, a list or a number stands for; `place` is what messages call it.
///
/// # Errors
/// What has no JSON, numbers that are not finite, and fields that are missing or of another type.
pub fn read<T: DeserializeOwned>(given: &Bound<'_, PyAny>, place: &str) -> Result<T, Problem> {
    from_value(value(given, place)?, place)
}

/// The record of a JSON.
///
/// # Errors
/// As for [`read`].
pub fn from_value<T: DeserializeOwned>(value: Value, place: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let at = error.path().to_string();
        let at = match at.as_str() {
            "." => String::new(),
            at if at.starts_with('[') => at.to_owned(),
            at => format!(".{at}"),
        };
        format!("{place}{at}: {}", error.inner())
    })
}

/// JSON of a value of Python; arrays and scalars of numpy count as lists and numbers.
///
/// # Errors
/// Anything else, and numbers that are not finite.
pub fn value(given: &Bound<'_, PyAny>, place: &str) -> Result<Value, Problem> {
    nested(given, place, DEEPEST)
}

fn nested(given: &Bound<'_, PyAny>, place: &str, left: usize) -> Result<Value, Problem> {
    let wrong = |problem: &str| format!("{place} {problem}");
    let Some(left) = left.checked_sub(1) else {
        return Err(wrong("is nested too deeply"));
    };
    if given.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = given.cast::<PyBool>() {
        return Ok(flag.is_true().into());
    }
    if let Ok(text) = given.cast::<PyString>() {
        return Ok(text.to_string_lossy().into());
    }
    if given.is_instance_of::<PyInt>() {
        let signed = given.extract::<i64>().map(Number::from);
        let number = signed.or_else(|_| given.extract::<u64>().map(Number::from));
        return number.map(Value::Number).map_err(|_| wrong("is an integer of more than 64 bits"));
    }
    if given.is_instance_of::<PyFloat>() {
        let number = given.extract::<f64>().ok().and_then(Number::from_f64);
        return number.map(Value::Number).ok_or_else(|| {
            format!("{place} is {given}; it must be finite, so leave out what is undefined")
        });
    }
    if given.is_instance_of::<PyList>() || given.is_instance_of::<PyTuple>() {
        let items = given.try_iter().map_err(|error| wrong(&format!("can't be read: {error}")))?;
        let items = items.enumerate().map(|(i, item)| {
            let at = format!("{place}[{i}]");
            let item = item.map_err(|error| format!("{at} can't be read: {error}"))?;
            nested(&item, &at, left)
        });
        return items.collect::<Result<Vec<_>, _>>().map(Value::Array);
    }
    if let Ok(mapping) = given.cast::<PyMapping>() {
        return object(mapping, place, left).map(Value::Object);
    }
    // Arrays and scalars of numpy, tensors.
    if let Ok(list) = given.call_method0("tolist") {
        return nested(&list, place, left);
    }
    Err(wrong(&format!("is a {}; give a dict, a list, a number or a text", kind(given))))
}

fn object(
    mapping: &Bound<'_, PyMapping>,
    place: &str,
    left: usize,
) -> Result<Map<String, Value>, Problem> {
    let unreadable = |error: PyErr| format!("{place} can't be read: {error}");
    let mut fields = Map::new();
    for item in mapping.items().map_err(unreadable)? {
        let (key, item) =
            item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(unreadable)?;
        let Ok(key) = key.cast::<PyString>() else {
            return Err(format!("{place} has the key {key}, which is no text"));
        };
        let key = key.to_string_lossy().into_owned();
        let item = nested(&item, &format!("{place}.{key}"), left)?;
        fields.insert(key, item);
    }
    Ok(fields)
}

/// Name of its type.
pub fn kind(given: &Bound<'_, PyAny>) -> String {
    given.get_type().name().map_or_else(|_| "strange object".into(), |name| name.to_string())
}

/// Keyword arguments that were given, without those that are None.
pub fn keywords<'py>(given: Option<&Bound<'py, PyDict>>) -> Vec<(String, Bound<'py, PyAny>)> {
    let items = given.into_iter().flat_map(PyDictMethods::iter);
    items
        .filter(|(_, value)| !value.is_none())
        .map(|(key, value)| (key.to_string(), value))
        .collect()
}

/// Settings as JSON: an object, which None stands for as well.
///
/// # Errors
/// Anything else.
pub fn settings(given: Option<&Bound<'_, PyAny>>) -> Result<Value, Problem> {
    let Some(given) = given.filter(|given| !given.is_none()) else {
        return Ok(Value::Object(Map::new()));
    };
    match value(given, "settings")? {
        object @ Value::Object(_) => Ok(object),
        _ => Err(format!("settings is a {}; give a dict", kind(given))),
    }
}
