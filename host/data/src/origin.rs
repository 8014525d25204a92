//! What a row or a prompt is for: where it comes from, and which split it belongs to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Error, Place, Result};

/// Which data a row comes from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// What the model shall learn.
    #[default]
    Task,
    /// Data that shall keep it safe.
    Alignment,
}

/// Fit on `Training`, choose on `Validation`, report on `Test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Training,
    Validation,
    Test,
}

impl Split {
    /// The split that the value of a record's `split` names, if there is one.
    pub(super) fn of(place: &Place, value: Option<Value>) -> Result<Option<Self>> {
        let value = value.unwrap_or(Value::Null);
        match value.as_str() {
            Some("train" | "training") => Ok(Some(Split::Training)),
            Some("val" | "valid" | "validation" | "dev") => Ok(Some(Split::Validation)),
            Some("test") => Ok(Some(Split::Test)),
            None if value.is_null() => Ok(None),
            _ => Err(Error::Field {
                place: place.clone(),
                field: "split".into(),
                found: value.to_string(),
                expected: "training, validation or test",
            }),
        }
    }
}
