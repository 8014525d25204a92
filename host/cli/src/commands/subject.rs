//! A policy file, and the synthetic run that it is asked about.

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;

use clap::Args;
use host_audit::synthetic::{Subject, run_info};
use host_contract::{Needs, RunInfo};
use host_sandbox::{Policy, PolicyKey};
use host_trainer::Error;
use host_trainer::calibration::CalibrationFile;
use serde_json::{Map, Value};

#[derive(Debug, Args)]
pub struct SubjectFlags {
    /// Settings of the policy: a JSON object, or KEY=VALUE. Can be repeated.
    #[arg(long, value_name = "JSON|KEY=VALUE", value_parser = part)]
    pub settings: Vec<Map<String, Value>>,
    /// Calibration made by `host calibrate` for this policy, instead of one on synthetic
    /// examples. --layers and --hidden must be those of its model.
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Decoder blocks of the model that the policy is told of.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub layers: u32,
    /// Width of that model.
    #[arg(long, value_name = "N", default_value_t = 576, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub hidden: u32,
    /// Seed of the synthetic run and its signals. Default: another one for every audit, printed;
    /// 17 for everything else.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

impl SubjectFlags {
    /// All parts in one object; a later one wins.
    pub fn settings(&self) -> Value {
        let parts = self.settings.iter().cloned();
        Value::Object(parts.flatten().collect())
    }

    pub fn run_info(&self) -> RunInfo {
        run_info(self.layers, self.hidden, self.usual_seed())
    }

    pub fn usual_seed(&self) -> u64 {
        self.seed.unwrap_or(17)
    }

    /// The seed that was given, or one that nobody can know beforehand.
    pub fn fresh_seed(&self) -> u64 {
        // Short enough to be typed again.
        let fresh = || RandomState::new().hash_one(std::process::id()) % 1_000_000_000;
        self.seed.unwrap_or_else(fresh)
    }

    /// Parameters from the calibration file, if one is given; `sha256` is the policy's.
    pub fn calibrated(&self, sha256: &str) -> Result<Option<(Vec<u8>, Needs)>, Error> {
        let Some(path) = &self.calibration else {
            return Ok(None);
        };
        let problem = |problem: &str| Error::file(path, problem);
        let file = CalibrationFile::read(path)?;
        if file.policy_sha256 != sha256 {
            return Err(problem("was made for another policy file; run host calibrate again"));
        }
        if file.settings != self.settings() {
            return Err(problem(
                "was made for other settings of the policy; give the same with --settings",
            ));
        }
        Ok(Some((file.parameters(path)?, file.needs)))
    }

    /// Configured, and calibrated if the policy wants to be.
    pub fn prepare<'p>(&self, policy: &'p Policy) -> Result<Subject<'p>, Error> {
        let settings = self.settings().to_string();
        let mut subject =
            Subject::configure(policy, &settings, &self.run_info(), self.usual_seed())?;
        match self.calibrated(policy.digest())? {
            Some((parameters, needs)) => {
                if let Some(beyond) = host_contract::exceeds(&needs, &subject.configured) {
                    let path = self.calibration.clone().unwrap_or_default();
                    return Err(Error::file(&path, format!("{beyond}; run host calibrate again")));
                }
                subject.use_parameters(parameters, needs);
            }
            None => {
                subject.calibrate()?;
            }
        }
        Ok(subject)
    }
}

/// The key that was named, if one was.
pub fn public_key(key: Option<&str>) -> Result<Option<PolicyKey>, Error> {
    Ok(key.map(PolicyKey::read).transpose()?)
}

/// A JSON object, or a key and its value: JSON, or else text as it stands.
fn part(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"));
    }
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            Ok(Map::from_iter([(key.to_owned(), value)]))
        }
        _ => Err("write {\"b_max\": 0.8} or b_max=0.8".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_json_or_key_and_value() {
        assert_eq!(Value::Object(part(r#"{"a": 1}"#).unwrap()), json!({"a": 1}));
        assert_eq!(Value::Object(part("a=0.5").unwrap()), json!({"a": 0.5}));
        assert_eq!(Value::Object(part("a=[1, 2]").unwrap()), json!({"a": [1, 2]}));
        assert_eq!(Value::Object(part("mode=batch").unwrap()), json!({"mode": "batch"}));
        for wrong in ["a", "=1", "{a", ""] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
