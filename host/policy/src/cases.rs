//! Recorded cases: arguments of one call and the answer to expect.
//!
//! A policy is a pure function, so a test of one is a file. A case is JSON: the
//! function, its arguments in the words of the interface (fields with `_`), and
//! under `expected` the answer. The cases of a policy lie in the folder `cases`
//! beside its sources.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::wit::{Assessment, Examples, Needs, RunInfo, Signals};
use crate::{Call, Error, Policy};

/// Two builds of a policy by different compilers agree this closely (absolutely for
/// numbers below 1, else relatively): `exp` and its kin are not the same everywhere.
pub const TOLERANCE: f64 = 1e-6;

/// One recorded call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case is about, for a person.
    pub about: String,
    pub function: Function,
    /// The settings object.
    pub settings: Value,
    pub run: RunInfo,
    /// Hexadecimal, as `state`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parameters: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// For `calibrate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<Examples>,
    /// For `assess`. With `calibrate` these signals are then assessed with the
    /// parameters it returned, since those can only be judged by what they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<Signals>,
    /// The answer: `needs`, `calibration` or `assessment`, or else `error`.
    pub expected: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Function {
    Configure,
    Calibrate,
    Assess,
}

/// Why a case can't be run or is not met.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("case {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("case {} is not a case: {source}", path.display())]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("the case can't be written as JSON: {0}")]
    Write(serde_json::Error),
    #[error("`{field}` of the case is {problem}")]
    Field {
        field: &'static str,
        problem: &'static str,
    },
    /// A fault, rather than an answer of the policy.
    #[error(transparent)]
    Policy(#[from] Error),
    #[error("the answer differs at `{at}`: expected {expected}, got {got}")]
    Differs {
        at: String,
        expected: String,
        got: String,
    },
}

/// The files of the cases in `FOLDER/cases`, by name. None if there is no folder.
///
/// # Errors
/// If the folder can't be read.
pub fn paths(folder: &Path) -> Result<Vec<PathBuf>, CaseError> {
    let folder = folder.join("cases");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable = |source| CaseError::Read {
        path: folder.clone(),
        source,
    };
    let mut found = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Case {
    /// # Errors
    /// If the file can't be read or is not a case.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let text = std::fs::read_to_string(path).map_err(|source| CaseError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|source| CaseError::Parse {
            path: path.to_path_buf(),
            source,
        })
    }

    /// Indented, with long lists of numbers on one line.
    ///
    /// # Errors
    /// If the case can't be written as JSON.
    pub fn to_json(&self) -> Result<String, CaseError> {
        let value = serde_json::to_value(self).map_err(CaseError::Write)?;
        let mut text = String::new();
        layout(&value, 0, &mut text);
        text.push('\n');
        Ok(text)
    }

    /// Calls `policy` and returns its answer in the form of `expected`.
    ///
    /// # Errors
    /// If the case lacks an argument, or for a fault; a refusal is an answer.
    pub fn answer(&self, policy: &Policy) -> Result<Value, CaseError> {
        let settings = self.settings.to_string();
        let answer = match self.function {
            Function::Configure => policy
                .configure(&settings, &self.run)
                .map(|needs| json!({ "needs": needs })),
            Function::Calibrate => return self.calibrate(policy, &settings),
            Function::Assess => {
                let parameters = bytes("parameters", &self.parameters)?;
                let needs = policy.configure(&settings, &self.run)?;
                let signals = self.signals.as_ref().ok_or(absent("signals"))?;
                return self.assess(policy, &settings, &parameters, &needs, signals);
            }
        };
        refusal_is_an_answer(answer)
    }

    /// # Errors
    /// As [`Case::answer`], and if the answer is not the expected one.
    pub fn check(&self, policy: &Policy, tolerance: f64) -> Result<(), CaseError> {
        agree(
            &self.expected,
            &self.answer(policy)?,
            tolerance,
            String::new(),
        )
    }

    fn assess(
        &self,
        policy: &Policy,
        settings: &str,
        parameters: &[u8],
        needs: &Needs,
        signals: &Signals,
    ) -> Result<Value, CaseError> {
        let state = bytes("state", &self.state)?;
        let call = Call {
            settings,
            run: &self.run,
            parameters,
            state: &state,
            signals,
            needs,
        };
        let answer = policy.assess(call).map(|assessed| assessed.assessment);
        refusal_is_an_answer(answer.map(|assessment| json!({ "assessment": readable(assessment) })))
    }

    fn calibrate(&self, policy: &Policy, settings: &str) -> Result<Value, CaseError> {
        let examples = self.examples.as_ref().ok_or(absent("examples"))?;
        let calibration = match policy.calibrate(settings, &self.run, examples) {
            Ok(calibration) => calibration,
            Err(error) => return refusal_is_an_answer(Err(error)),
        };
        let mut answer = json!({ "calibration": {
            "parameter_bytes": calibration.parameters.len(),
            "needs": calibration.needs,
            "candidates": calibration.candidates,
            "summary": calibration.summary,
        }});
        if let Some(signals) = &self.signals {
            let (parameters, needs) = (&calibration.parameters, &calibration.needs);
            let assessed = self.assess(policy, settings, parameters, needs, signals)?;
            answer["then"] = assessed;
        }
        Ok(answer)
    }
}

/// The state is bytes, which read better in hexadecimal.
fn readable(mut assessment: Assessment) -> Value {
    let state = hex::encode(std::mem::take(&mut assessment.state));
    let mut value = json!(assessment);
    value["state"] = json!(state);
    value
}

fn refusal_is_an_answer(answer: Result<Value, Error>) -> Result<Value, CaseError> {
    match answer {
        Ok(value) => Ok(value),
        Err(Error::Settings { message, .. } | Error::Refused { message, .. }) => {
            Ok(json!({ "error": message }))
        }
        Err(fault) => Err(fault.into()),
    }
}

fn absent(field: &'static str) -> CaseError {
    CaseError::Field {
        field,
        problem: "missing",
    }
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, CaseError> {
    hex::decode(text).map_err(|_| CaseError::Field {
        field,
        problem: "not hexadecimal",
    })
}

/// Compares numbers within `tolerance` and everything else exactly; `at` is where.
fn agree(expected: &Value, got: &Value, tolerance: f64, at: String) -> Result<(), CaseError> {
    let differs = |at: &str| {
        Err(CaseError::Differs {
            at: at.to_string(),
            expected: expected.to_string(),
            got: got.to_string(),
        })
    };
    match (expected, got) {
        (Value::Number(e), Value::Number(g)) => match (e.as_f64(), g.as_f64()) {
            (Some(e), Some(g)) if (e - g).abs() <= tolerance * e.abs().max(1.0) => Ok(()),
            _ => differs(&at),
        },
        (Value::Array(e), Value::Array(g)) if e.len() == g.len() => {
            let mut pairs = e.iter().zip(g).enumerate();
            pairs.try_for_each(|(i, (e, g))| agree(e, g, tolerance, format!("{at}[{i}]")))
        }
        (Value::Object(e), Value::Object(g)) if e.keys().all(|key| g.contains_key(key)) => {
            if e.len() != g.len() {
                return differs(&at);
            }
            let mut fields = e.iter();
            fields.try_for_each(|(key, e)| agree(e, &g[key], tolerance, format!("{at}.{key}")))
        }
        _ if expected == got => Ok(()),
        _ => differs(&at),
    }
}

fn layout(value: &Value, indent: usize, text: &mut String) {
    let line = |text: &mut String, indent: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", indent));
    };
    match value {
        Value::Object(fields) if !fields.is_empty() && value.to_string().len() > 80 => {
            text.push('{');
            for (i, (key, field)) in fields.iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                line(text, indent + 1);
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push_str(": ");
                layout(field, indent + 1, text);
            }
            line(text, indent);
            text.push('}');
        }
        Value::Array(items) if items.iter().any(|i| i.is_object() || i.is_array()) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                line(text, indent + 1);
                layout(item, indent + 1, text);
            }
            line(text, indent);
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(expected: Value, got: Value) -> Option<String> {
        agree(&expected, &got, TOLERANCE, String::new())
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn numbers_agree_within_the_tolerance_and_all_else_exactly() {
        assert_eq!(
            difference(json!({"a": [1.0, "x"]}), json!({"a": [1.0000005, "x"]})),
            None
        );
        assert_eq!(difference(json!(1), json!(1.0)), None);
        assert_eq!(difference(json!(1e9), json!(1.0000000005e9)), None);
        let error = difference(json!({"a": [0.1, 0.2]}), json!({"a": [0.1, 0.3]}));
        assert_eq!(
            error.as_deref(),
            Some("the answer differs at `.a[1]`: expected 0.2, got 0.3")
        );
        assert!(difference(json!("x"), json!("y")).is_some());
        assert!(difference(json!([1]), json!([1, 2])).is_some());
        assert!(difference(json!({"a": 1}), json!({"a": 1, "b": 2})).is_some());
        assert!(difference(json!({"a": 1}), json!({"b": 1})).is_some());
        assert!(difference(json!(null), json!(0)).is_some());
    }

    #[test]
    fn the_layout_is_the_same_json() {
        let long = "x".repeat(90);
        let value = json!({"numbers": [1.5, 2.5], "rows": [{"a": long}, {"b": []}], "empty": {}});
        let mut text = String::new();
        layout(&value, 0, &mut text);
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
        assert!(text.contains("[1.5,2.5]"));
    }
}
