//! One way to write an assessment as JSON, so that equal assessments are equal bytes.

use crate::assessment::Assessment;
use serde_json::{Error, Value};

/// An assessment as one line of JSON: object keys sorted, numbers in the shortest
/// form that reads back as the same number, `state` in hexadecimal.
///
/// # Errors
/// None for an assessment that was validated; a NaN or an infinity has no JSON.
pub fn assessment_to_json(assessment: &Assessment) -> Result<String, Error> {
    let mut value = serde_json::to_value(assessment)?;
    value["state"] = Value::String(hex::encode(&assessment.state));
    value.sort_all_objects();
    serde_json::to_string(&value)
}

/// Reads what [`assessment_to_json`] wrote.
///
/// # Errors
/// Anything else.
pub fn assessment_from_json(line: &str) -> Result<Assessment, Error> {
    use serde::de::Error as _;
    let mut value: Value = serde_json::from_str(line)?;
    let state = value.get("state").and_then(Value::as_str);
    let state = state.ok_or_else(|| Error::custom("`state` is missing or no text"))?;
    let state = hex::decode(state).map_err(|e| Error::custom(format!("`state`: {e}")))?;
    value["state"] = Value::Array(Vec::new());
    Ok(Assessment { state, ..serde_json::from_value(value)? })
}
