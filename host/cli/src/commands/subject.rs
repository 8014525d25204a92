//! A policy file, and the synthetic run that it is asked about.

use host_policy::synthetic::{Subject, run_info};
use host_policy::wit::{Needs, RunInfo};
use host_policy::{Policy, PublicKey};
use host_trainer::Error;
use host_trainer::calibration::CalibrationFile;

use crate::arguments::SubjectArguments;

impl SubjectArguments {
    pub fn run_info(&self) -> RunInfo {
        run_info(self.layers, self.hidden, self.seed)
    }

    /// Parameters from the calibration file, if one is given; `sha256` is the policy's.
    pub fn calibrated(&self, sha256: &str) -> Result<Option<(Vec<u8>, Needs)>, Error> {
        let Some(path) = &self.calibration else {
            return Ok(None);
        };
        let problem = |problem: &str| Error::File { path: path.clone(), problem: problem.into() };
        let file = CalibrationFile::read(path)?;
        if file.policy_sha256 != sha256 {
            return Err(problem("was made for another policy file; run host calibrate again"));
        }
        if file.settings != self.settings() {
            return Err(problem(
                "was made for other settings of the policy; give the same with --settings",
            ));
        }
        let parameters = hex::decode(&file.parameters)
            .map_err(|_| problem("parameters is not hex; run host calibrate again"))?;
        Ok(Some((parameters, file.needs)))
    }

    /// Configured, and calibrated if the policy wants to be.
    pub fn prepare<'p>(&self, policy: &'p Policy) -> Result<Subject<'p>, Error> {
        let settings = self.settings().to_string();
        let mut subject = Subject::configure(policy, &settings, &self.run_info())?;
        match self.calibrated(policy.digest())? {
            Some((parameters, needs)) => {
                if let Some(beyond) = host_policy::exceeds(&needs, &subject.configured) {
                    return Err(Error::File {
                        path: self.calibration.clone().unwrap_or_default(),
                        problem: format!("{beyond}; run host calibrate again"),
                    });
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
pub fn public_key(key: Option<&str>) -> Result<Option<PublicKey>, Error> {
    Ok(key.map(PublicKey::read).transpose()?)
}
