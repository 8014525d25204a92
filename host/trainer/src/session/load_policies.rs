//! From policy files to policies at work: loaded, configured, calibrated.

use std::path::Path;

use host_contract::{Needs, RunCapabilities, RunInfo};
use host_data::Reader;
use host_model::Model;
use host_sandbox::{Engine, Policy, Trust};

use crate::config::{PolicyConfig, RunConfig, TrustConfig};
use crate::error::{Error, Result};
use crate::policies::ActivePolicy;
use crate::records::observer::Observer;
use crate::session::calibration::{self, CalibrationFile, Fitting, LabelledPrompt};
use crate::session::capabilities::{check_needs, check_policies};
use crate::session::steering;

/// Checks the needs of all policies, against the run and against each other, before any is
/// calibrated.
pub fn check_all(
    policies: &[LoadedPolicy<'_>],
    run: &RunConfig,
    info: &RunInfo,
    capabilities: &RunCapabilities<'_>,
) -> Result<()> {
    let needs = policies
        .iter()
        .map(|one| Ok((one.policy.to_string(), one.configured(run, info, capabilities)?)));
    check_policies(&needs.collect::<Result<Vec<_>>>()?, &run.trust.guardrails()?)
}

/// A policy file that was loaded and whose settings are JSON, not yet configured.
pub struct LoadedPolicy<'a> {
    pub policy: Policy,
    pub settings: serde_json::Value,
    config: &'a PolicyConfig,
}

impl<'a> LoadedPolicy<'a> {
    /// `signed_by` is the key whose signature the file must have, if it must have one.
    pub fn load(config: &'a PolicyConfig, trust: &TrustConfig, engine: &Engine) -> Result<Self> {
        let (signed_by, revoked) = (trust.signed_by()?, trust.revoked()?);
        let trust = Trust {
            sha256: config.sha256.as_deref(),
            signed_by: signed_by.as_ref(),
            revoked: revoked.as_ref(),
        };
        let policy = Policy::load_trusted(engine, &config.path, &trust)?;
        let settings = serde_json::to_value(&config.settings)
            .map_err(|error| Error::config("policy.settings", error.to_string()))?;
        Ok(Self { policy, settings, config })
    }

    pub fn settings_json(&self) -> String {
        self.settings.to_string()
    }

    /// Configures the policy, checks its needs against the run, and calibrates it if
    /// it wants to be. The calibration is returned for the run folder.
    pub fn activate(
        self,
        fitting: &Fitting<'_>,
        capabilities: &RunCapabilities<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(ActivePolicy, Option<CalibrationFile>)> {
        let settings = self.settings_json();
        let needs = self.configured(fitting.run, fitting.info, capabilities)?;
        let calibration = match self.stored(&needs, fitting.model)? {
            None if needs.calibration => Some(self.calibrate(&needs, fitting, observer)?),
            stored => stored,
        };
        let parameters = match &calibration {
            Some(calibration) => hex::decode(&calibration.parameters).unwrap_or_default(),
            None => Vec::new(),
        };
        let active = ActivePolicy {
            policy: self.policy,
            settings,
            run: fitting.info.clone(),
            needs: calibration.as_ref().map_or(needs, |file| file.needs.clone()),
            parameters,
        };
        Ok((active, calibration))
    }

    /// What the policy asks for, as far as it can be known without calibrating it:
    /// calibration may narrow it. Checks what `activate` checks.
    pub fn dry_configure(
        &self,
        run: &RunConfig,
        reader: &Reader,
        info: &RunInfo,
        model: &Model,
        capabilities: &RunCapabilities<'_>,
    ) -> Result<Needs> {
        let needs = self.configured(run, info, capabilities)?;
        if self.config.calibration.is_none() && needs.calibration {
            self.prompts(run, reader)?;
            return Ok(needs);
        }
        Ok(self.stored(&needs, model)?.map_or(needs, |file| file.needs))
    }

    /// Needs of the policy, checked against the run.
    fn configured(
        &self,
        run: &RunConfig,
        info: &RunInfo,
        capabilities: &RunCapabilities<'_>,
    ) -> Result<Needs> {
        let needs = self.policy.configure(&self.settings_json(), info)?;
        check_needs(&self.policy.to_string(), &needs, capabilities)?;
        steering::check(&self.policy.to_string(), &needs, run)?;
        Ok(needs)
    }

    /// What the calibration file holds, if one is named.
    fn stored(&self, needs: &Needs, model: &Model) -> Result<Option<CalibrationFile>> {
        match &self.config.calibration {
            None => Ok(None),
            Some(path) if needs.calibration => self.read(path, needs, model).map(Some),
            Some(path) => Err(Error::file(
                path,
                format!(
                    "policy {} does not calibrate itself; leave the calibration out",
                    self.policy.name()
                ),
            )),
        }
    }

    fn read(&self, path: &Path, needs: &Needs, model: &Model) -> Result<CalibrationFile> {
        let file = CalibrationFile::read(path)?;
        file.check(path, &self.policy, &self.settings, &model.digest)?;
        // What the run was checked against is what `configure` said; a file may narrow
        // it, as `calibrate` may, and no more.
        match host_contract::exceeds(&file.needs, needs) {
            Some(problem) => {
                let problem = format!("{problem}; run host calibrate again");
                Err(Error::file(path, problem))
            }
            None => Ok(file),
        }
    }

    /// Measures the labelled prompts and fits the policy.
    pub fn calibrate(
        &self,
        needs: &Needs,
        fitting: &Fitting<'_>,
        observer: &mut dyn Observer,
    ) -> Result<CalibrationFile> {
        let Fitting { run, reader, model, .. } = *fitting;
        let prompts = self.prompts(run, reader)?;
        reader.check(prompts.iter().map(|one| &one.prompt), model)?;
        let settings = self.settings_json();
        let (result, recomputed) =
            calibration::calibrate(&self.policy, &settings, needs, &prompts, fitting, observer)?;
        Ok(CalibrationFile {
            policy: self.policy.name().to_owned(),
            policy_sha256: self.policy.digest().to_owned(),
            settings: self.settings.clone(),
            model: model.name.clone(),
            model_digest: model.digest.clone(),
            examples: prompts.len(),
            summary: result.summary,
            needs: result.needs,
            candidates: result.candidates,
            parameters: hex::encode(result.parameters),
            recomputed: Some(recomputed),
            notices: None,
        })
    }

    /// The labelled prompts to calibrate on.
    fn prompts(&self, run: &RunConfig, reader: &Reader) -> Result<Vec<LabelledPrompt>> {
        if run.calibration.data.is_empty() {
            return Err(Error::UnmetNeed {
                policy: self.policy.to_string(),
                need: "labelled prompts to calibrate on".into(),
                remedy: "give --labelled FILE (rows of prompt and label), --calibration FILE from host calibrate, \
                         or calibration.data = [\"demo:calibrate.jsonl\"]"
                    .into(),
            });
        }
        calibration::load_prompts(&run.calibration, reader)
    }
}
