//! Recorded cases: arguments of one call and the answer to expect.
//!
//! A policy is a pure function, so a test of one is a file. A case is JSON: the
//! function, its arguments in the words of the interface (fields with `_`), and
//! under `expected` the answer. The cases of a policy lie in the folder `cases`
//! beside its sources.

mod layout;

pub use crate::agreement::{Differs, TOLERANCE, settled};
pub use layout::pretty;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::agreement::agree;

use host_contract::{Assessment, Examples, Needs, RunInfo, Signals};
use host_sandbox::{Call, Cost, Error, Policy};

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
    Read { path: PathBuf, source: std::io::Error },
    #[error("case {} is not a case: {source}", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("the case can't be written as JSON: {0}")]
    Write(serde_json::Error),
    #[error("`{field}` of the case is {problem}")]
    Field { field: &'static str, problem: &'static str },
    /// A fault, rather than an answer of the policy.
    #[error(transparent)]
    Policy(#[from] Error),
    #[error(transparent)]
    Differs(#[from] Differs),
}

/// The files of the cases in `FOLDER/cases`, by name. None if there is no folder.
///
/// # Errors
/// If the folder can't be read.
pub fn paths(folder: &Path) -> Result<Vec<PathBuf>, CaseError> {
    let folder = folder.join("cases");
    if folder.is_dir() { files(&folder) } else { Ok(Vec::new()) }
}

/// The files of the cases in a folder, by name.
///
/// # Errors
/// If the folder can't be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, CaseError> {
    let unreadable = |source| CaseError::Read { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
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
        let text = host_files::capped::read_text(path, 64 << 20)
            .map_err(|source| CaseError::Read { path: path.to_path_buf(), source })?;
        serde_json::from_str(&text)
            .map_err(|source| CaseError::Parse { path: path.to_path_buf(), source })
    }

    /// Indented, with long lists of numbers on one line.
    ///
    /// # Errors
    /// If the case can't be written as JSON.
    pub fn to_json(&self) -> Result<String, CaseError> {
        Ok(pretty(&serde_json::to_value(self).map_err(CaseError::Write)?))
    }

    /// Calls `policy` and returns its answer in the form of `expected`.
    ///
    /// # Errors
    /// If the case lacks an argument, or for a fault; a refusal is an answer.
    pub fn answer(&self, policy: &Policy) -> Result<Value, CaseError> {
        Ok(self.call(policy)?.answer)
    }

    /// [`Case::answer`], and what the call cost.
    ///
    /// # Errors
    /// The same.
    pub fn call(&self, policy: &Policy) -> Result<Answered, CaseError> {
        let settings = self.settings.to_string();
        match self.function {
            Function::Configure => {
                let answer = policy.configure_at_cost(&settings, &self.run);
                answered(answer.map(|(needs, cost)| (json!({ "needs": needs }), cost)))
            }
            Function::Calibrate => self.calibrate(policy, &settings),
            Function::Assess => {
                let parameters = bytes("parameters", &self.parameters)?;
                let needs = policy.configure(&settings, &self.run)?;
                let signals = self.signals.as_ref().ok_or(absent("signals"))?;
                self.assess(policy, &settings, &parameters, &needs, signals)
            }
        }
    }

    /// # Errors
    /// As [`Case::answer`], and if the answer is not the expected one.
    pub fn check(&self, policy: &Policy, tolerance: f64) -> Result<(), CaseError> {
        self.compare(&self.answer(policy)?, tolerance)
    }

    /// # Errors
    /// If the answer is not the expected one: where it first differs.
    pub fn compare(&self, answer: &Value, tolerance: f64) -> Result<(), CaseError> {
        Ok(agree(&self.expected, answer, tolerance, String::new())?)
    }

    fn assess(
        &self,
        policy: &Policy,
        settings: &str,
        parameters: &[u8],
        needs: &Needs,
        signals: &Signals,
    ) -> Result<Answered, CaseError> {
        let state = bytes("state", &self.state)?;
        let call = Call { settings, run: &self.run, parameters, state: &state, signals, needs };
        answered(policy.assess(call).map(|assessed| {
            let cost = assessed.cost();
            (json!({ "assessment": readable(assessed.assessment) }), cost)
        }))
    }

    fn calibrate(&self, policy: &Policy, settings: &str) -> Result<Answered, CaseError> {
        let examples = self.examples.as_ref().ok_or(absent("examples"))?;
        let (calibration, cost) = match policy.calibrate_at_cost(settings, &self.run, examples) {
            Ok(calibrated) => calibrated,
            Err(error) => return answered(Err(error)),
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
            answer["then"] = assessed.answer;
        }
        Ok(Answered { answer, cost: Some(cost) })
    }
}

/// What a policy answered to a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// In the form of `expected`.
    pub answer: Value,
    /// Absent where the policy refused.
    pub cost: Option<Cost>,
}

/// The state is bytes, which read better in hexadecimal.
fn readable(mut assessment: Assessment) -> Value {
    let state = hex::encode(std::mem::take(&mut assessment.state));
    let mut value = json!(assessment);
    value["state"] = json!(state);
    value
}

/// A refusal is an answer, a fault is none.
fn answered(result: Result<(Value, Cost), Error>) -> Result<Answered, CaseError> {
    match result {
        Ok((answer, cost)) => Ok(Answered { answer, cost: Some(cost) }),
        Err(Error::Settings { message, .. } | Error::Refused { message, .. }) => {
            Ok(Answered { answer: json!({ "error": message }), cost: None })
        }
        Err(fault) => Err(fault.into()),
    }
}

fn absent(field: &'static str) -> CaseError {
    CaseError::Field { field, problem: "missing" }
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, CaseError> {
    hex::decode(text).map_err(|_| CaseError::Field { field, problem: "not hexadecimal" })
}
