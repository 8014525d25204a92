//! A JSON object of a data file, whose keys are taken one by one: what nobody takes is
//! known at the end, and told.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::error::{Error, Place, Result};
use super::shown::kind;
use host_files::text;

/// The keys of an object that are left to take.
pub(super) struct Fields<'a> {
    pub place: &'a Place,
    /// Where the object stands in its row, such as `messages[1]`; empty for the row.
    path: String,
    map: Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn new(place: &'a Place, path: impl Into<String>, map: Map<String, Value>) -> Self {
        Self { place, path: path.into(), map }
    }

    /// The keys that are left, with their values.
    pub fn left(&self) -> &Map<String, Value> {
        &self.map
    }

    /// Whether a key is left that says something.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// The value of a key; null is no value.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Sets a key.
    pub fn put(&mut self, key: &str, value: Value) {
        self.map.insert(key.to_owned(), value);
    }

    /// The value of the first of these keys that is there, with the key. Others of them
    /// must say the same.
    pub fn take_one_of(&mut self, keys: &[&'static str]) -> Result<Option<(&'static str, Value)>> {
        let mut found: Option<(&'static str, Value)> = None;
        for key in keys {
            let Some(value) = self.take(key) else {
                continue;
            };
            match &found {
                None => found = Some((key, value)),
                Some((first, before)) if *before != value && !says_nothing(&value) => {
                    if !says_nothing(before) {
                        let problem = format!("says something else than `{first}`");
                        return Err(self.refused(key, problem, "keep one of the two"));
                    }
                    found = Some((key, value));
                }
                Some(_) => {}
            }
        }
        Ok(found)
    }

    /// The text of a key.
    pub fn text(&mut self, key: &str) -> Result<Option<String>> {
        let name = self.name(key);
        self.take(key).map(|value| text(self.place, &name, value)).transpose()
    }

    /// The path of a key from its row.
    pub fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// An error for a key whose value is of the wrong kind.
    pub fn wrong(&self, key: &str, found: impl Into<String>, expected: &'static str) -> Error {
        Error::Field {
            place: self.place.clone(),
            field: self.name(key),
            found: found.into(),
            expected,
        }
    }

    /// An error for a key that says what can't be honoured.
    pub fn refused(
        &self,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        Error::Refused {
            place: self.place.clone(),
            field: self.name(key),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// Adds the keys that nobody took, with places in lists as `[]`.
    pub fn finish(self, ignored: &mut BTreeSet<String>) {
        for (key, _) in self.map.iter().filter(|(_, value)| !value.is_null()) {
            ignored.insert(without_numbers(&self.path, key));
        }
    }
}

/// Whether a value adds nothing, whatever its key means.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}

pub(super) fn text(place: &Place, field: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Error::Field {
            place: place.clone(),
            field: field.into(),
            found: kind(&other).into(),
            expected: "text",
        }),
    }
}

/// `messages[3]` and `id` as `messages[].id`.
fn without_numbers(path: &str, key: &str) -> String {
    let mut name = String::new();
    for part in path.split('[') {
        match part.split_once(']') {
            Some((_, rest)) => name = name + "[]" + rest,
            None => name.push_str(part),
        }
    }
    if !name.is_empty() {
        name.push('.');
    }
    name + &text::name(key)
}
