//! What the owner of a run signs of it, and what must be signed before it goes on.

use std::path::Path;

use host_audit::seal::{Notary, Seal};
use host_eval::report::Report;

use super::Prepared;
use crate::error::{Error, Result};
use crate::records::run_dir::RunDir;
use crate::session::calibration::CalibrationFile;
use crate::session::manifest::Manifest;
use crate::session::stages::{self, Stages};

impl Prepared<'_> {
    /// What the run is made of, and for one that goes on in a folder that this is what it was
    /// made of before.
    pub(super) fn settle(
        &mut self,
        settled: &str,
        goes_on: Option<(&RunDir, Option<&Stages>)>,
    ) -> Result<Manifest> {
        let mut manifest =
            Manifest::new(&self.config, &self.context, &self.policies, self.digests.clone());
        // The program and the files of evaluations are read whole for it.
        if self.signer.is_some() {
            self.identity = manifest.identity(&self.config, settled, &self.policies)?;
        }
        let Some((folder, stages)) = goes_on else {
            return Ok(manifest);
        };
        let seal = stages.and_then(|stages| stages.seal.as_ref());
        manifest = manifest.resumed(folder, seal)?;
        match (self.notary(), seal) {
            (None, _) => {}
            (Some(_), Some(seal)) => {
                manifest.note(&stages::goes_on(seal, &self.identity, folder)?);
                self.identity = seal.identity.clone();
            }
            (Some(notary), None) => self.check_vouched(folder, notary)?,
        }
        Ok(manifest)
    }

    /// Without stages.json it is a checkpoint that must say whose run this is.
    fn check_vouched(&self, folder: &RunDir, notary: Notary<'_>) -> Result<()> {
        let arm = folder.child("")?;
        let checkpoints = self.training("after", &self.policies, &arm).checkpoints();
        let stored = checkpoints.newest_first();
        if stored.iter().any(|one| checkpoints.read(one).is_ok()) {
            return Ok(());
        }
        Err(Error::Resume {
            path: folder.path().to_owned(),
            problem: format!(
                "nothing in it carries the signature of key {} for a run of this configuration: \
                 it was begun by an earlier version or with another key, or changed by somebody \
                 else; start a new run",
                notary.signer.public().id()
            ),
        })
    }

    pub(super) fn notary(&self) -> Option<Notary<'_>> {
        let signer = self.signer.as_ref()?;
        Some(Notary { signer, run: &self.identity.run })
    }

    /// With nothing behind it.
    pub(super) fn stages(&self, manifest: &Manifest) -> Stages {
        let mut stages = Stages::new(Report::new(Path::new(""), self.names()));
        stages.seal = self.signer.is_some().then(|| Seal {
            identity: self.identity.clone(),
            started: manifest.started(),
            notices: manifest.notices().to_vec(),
            ..Seal::default()
        });
        stages
    }

    /// Writes what a run begins with besides its configuration.
    pub(super) fn fill(&self, folder: &Path, stages: &mut Stages) -> Result<()> {
        if let Some(steering) = &self.context.steering {
            steering.save(folder, &self.context.model.digest)?;
        }
        for (number, calibration) in &self.calibrations {
            calibration.write(&folder.join(CalibrationFile::name(*number)))?;
        }
        match self.notary() {
            Some(notary) => stages.begin(folder, Some(notary)),
            None => Ok(()),
        }
    }
}
