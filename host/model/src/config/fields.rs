//! Reading a `config.json`.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;

use host_files::text::line;

use super::{MOST, ORIGINAL};
use crate::error::{Error, Result};

/// Fields of a `config.json`, or of an object in it, with the file's name for errors.
pub struct Fields<'a> {
    file: &'a str,
    value: &'a Value,
    /// The object they are in, with a point behind it.
    within: String,
    notices: Rc<RefCell<Vec<String>>>,
}

impl<'a> Fields<'a> {
    /// All fields of a document.
    pub fn new(file: &'a str, value: &'a Value) -> Self {
        Self { file, value, within: String::new(), notices: Rc::default() }
    }

    /// Those of the object that a field holds, if it is there.
    pub fn object(&self, field: &str) -> Option<Self> {
        Some(Self {
            file: self.file,
            value: self.get(field)?,
            within: format!("{}{field}.", self.within),
            notices: self.notices.clone(),
        })
    }

    /// Keeps a line that a person should read: which of two fields counts, or what isn't read.
    pub fn note(&self, field: &str, what: impl AsRef<str>) {
        let field = format!("{}{field}", self.within);
        let text = format!("{}: `{}` {}", self.file, line(&field), line(what.as_ref()));
        self.notices.borrow_mut().push(text);
    }

    /// All that was noted, here and in the objects of this document.
    pub fn notices(&self) -> Vec<String> {
        self.notices.borrow().clone()
    }

    /// The names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.value.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str))
    }

    /// Whether the field is there, be it `null`.
    pub fn has(&self, field: &str) -> bool {
        self.value.get(field).is_some()
    }

    /// The file that errors name.
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// An error about a field.
    pub fn fail(
        &self,
        field: &str,
        problem: impl Into<String>,
        action: impl Into<String>,
    ) -> Error {
        Error::Config {
            file: self.file.into(),
            field: format!("{}{}", self.within, line(field)),
            problem: line(&problem.into()).into_owned(),
            action: action.into(),
        }
    }

    /// The field, with `null` read as absent.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.value.get(field).filter(|value| !value.is_null())
    }

    /// A whole number, if the field is there.
    ///
    /// # Errors
    /// [`Error::Config`] when it holds something else.
    pub fn size(&self, field: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match value.as_u64() {
            Some(number) => Ok(Some(number as usize)),
            None => Err(self.fail(field, format!("is {value}"), "give a whole number")),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`Error::Config`] when it holds something else or is missing.
    pub fn required(&self, field: &str) -> Result<usize> {
        self.size(field)?.ok_or_else(|| self.fail(field, "is missing", "add it"))
    }

    /// The number of blocks, which may be taken as the length of a list: no more than any model has.
    ///
    /// # Errors
    /// [`Error::Config`] when it is missing, no whole number, or too large.
    pub fn layers(&self) -> Result<usize> {
        let field = "num_hidden_layers";
        let layers = self.required(field)?;
        if layers > MOST {
            return Err(self.fail(field, format!("is {layers}, outside 1 to {MOST}"), ORIGINAL));
        }
        Ok(layers)
    }

    /// A number, if the field is there.
    ///
    /// # Errors
    /// [`Error::Config`] when it holds something else.
    pub fn number(&self, field: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(self.fail(field, format!("is {value}"), "give a number")),
        }
    }

    /// True or false; false if the field is not there.
    ///
    /// # Errors
    /// [`Error::Config`] when it holds something else.
    pub fn flag(&self, field: &str) -> Result<bool> {
        self.flag_or(field, false)
    }

    /// True or false; `absent` if the field is not there.
    ///
    /// # Errors
    /// [`Error::Config`] when it holds something else.
    pub fn flag_or(&self, field: &str, absent: bool) -> Result<bool> {
        match self.get(field) {
            None => Ok(absent),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(self.fail(field, format!("is {value}"), "give true or false")),
        }
    }

    /// A token id or a list of them; empty if the field is not there.
    ///
    /// # Errors
    /// [`Error::Config`] when it holds something else.
    pub fn token_ids(&self, field: &str) -> Result<Vec<u32>> {
        let bad = || self.fail(field, "is not a token id", "give a whole number or a list");
        let id =
            |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(bad);
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(id).collect(),
            Some(value) => Ok(vec![id(value)?]),
        }
    }

    /// A number above 0.
    ///
    /// # Errors
    /// [`Error::Config`] when it holds something else or is missing.
    pub fn positive(&self, field: &str) -> Result<f64> {
        match self.number(field)? {
            Some(number) if number > 0.0 && number.is_finite() => Ok(number),
            Some(number) => Err(self.fail(field, format!("is {number}"), "make it positive")),
            None => Err(self.fail(field, "is missing", "add it")),
        }
    }

    /// A list of numbers.
    ///
    /// # Errors
    /// [`Error::Config`] when it holds something else or is missing.
    pub fn factors(&self, field: &str) -> Result<Vec<f64>> {
        self.get(field)
            .and_then(Value::as_array)
            .and_then(|list| list.iter().map(Value::as_f64).collect())
            .ok_or_else(|| self.fail(field, "is not a list of numbers", "add it"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Lists have as many entries, so that it is no number of layers must be known before.
    #[test]
    fn a_number_of_layers_that_no_model_has_is_refused_by_every_family() {
        for family in crate::families::FAMILIES {
            let value = serde_json::json!({
                "num_hidden_layers": 1u64 << 45,
                "intermediate_size": 8,
                "use_sliding_window": true,
            });
            let json = Fields::new("config.json", &value);
            assert!(json.layers().unwrap_err().to_string().contains("outside 1 to 268435456"));
            for error in [family.read_window(&json).err(), family.read_experts(&json).err()] {
                let is_right = |error: Error| error.to_string().contains("outside 1 to");
                assert!(error.is_none_or(is_right), "{family:?}");
            }
        }
    }
}
