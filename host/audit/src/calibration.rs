//! The file of a calibration: what a policy made of labelled examples, for which model.

use std::path::Path;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use host_contract::{Candidate, Needs};
use host_files::{capped, json};
use host_sandbox::Policy;

use crate::error::FileError;

/// Most bytes of a file; the parameters of a policy are most of it.
const BYTES: u64 = 64 << 20;

/// What `host calibrate` leaves and `policy.calibration` reads. `F` are figures and `N` notices of
/// whoever measured the examples.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationFile<F = Value, N = Value> {
    pub policy: String,
    pub policy_sha256: String,
    pub settings: Value,
    pub model: String,
    pub model_digest: String,
    pub examples: usize,
    pub summary: String,
    pub needs: Needs,
    pub candidates: Vec<Candidate>,
    /// Hex.
    pub parameters: String,
    /// Figures of the host's own.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub recomputed: Option<F>,
    /// What a person should know of the prompts that were read.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub notices: Option<N>,
}

/// `default` alone would ask for one of the type itself.
fn none<T>() -> Option<T> {
    None
}

impl<F: Serialize + DeserializeOwned, N: Serialize + DeserializeOwned> CalibrationFile<F, N> {
    /// # Errors
    /// A file that can't be read or is something else.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let read = capped::read_text(path, BYTES);
        let text = read.map_err(|source| FileError::read(path, source))?;
        serde_json::from_str(&text).map_err(|error| {
            let problem = format!("is no calibration file ({error}); make one with host calibrate");
            FileError::file(path, problem)
        })
    }

    /// # Errors
    /// A file that can't be written.
    pub fn write(&self, path: &Path) -> host_files::Result<()> {
        json::write(path, self)
    }
}

impl<F, N> CalibrationFile<F, N> {
    /// Its name in the folder of a run, by the number of its policy from 0: `calibration.json`,
    /// `calibration-2.json` and so on.
    pub fn name(policy: usize) -> String {
        match policy {
            0 => "calibration.json".into(),
            _ => format!("calibration-{}.json", policy + 1),
        }
    }

    /// Refuses a file that was fitted for another policy, other settings or another model.
    ///
    /// # Errors
    /// What it was made for instead; also parameters that are not hex.
    pub fn check(
        &self,
        path: &Path,
        policy: &Policy,
        settings: &Value,
        model_digest: &str,
    ) -> Result<(), FileError> {
        let stale = |what: &str| {
            let problem = format!("was made for another {what}; run host calibrate again");
            Err(FileError::file(path, problem))
        };
        if self.policy_sha256 != policy.digest() {
            return stale("policy file");
        }
        if &self.settings != settings {
            return stale("set of policy settings");
        }
        if self.model_digest != model_digest {
            return stale("model");
        }
        self.parameters(path).map(drop)
    }

    /// The parameters as `assess` gets them.
    ///
    /// # Errors
    /// Parameters that are not hex.
    pub fn parameters(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        let problem = "parameters is not hex; run host calibrate again";
        hex::decode(&self.parameters).map_err(|_| FileError::file(path, problem))
    }
}
