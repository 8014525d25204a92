//! stages.json: what a run has behind it, so that one that goes on repeats nothing; and, signed,
//! the files that it relies on then, or that it left when it ended.

use std::collections::BTreeMap;
use std::path::Path;

use host_audit::journal::Identity;
use host_audit::seal::{Content, Notary, Seal, names, notary};
use host_eval::report::Report;
use host_files::{json, own};
use host_sandbox::{PublicKey, Statement};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::program;
use crate::records::run_dir::{Lines, RunDir};

pub(crate) const FILE: &str = "stages.json";
const GENERATIONS: &str = "generations.jsonl";

/// The stages that are over, by their results.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stages {
    pub report: Report,
    /// Of generations.jsonl; what lies behind belongs to a stage that was cut off.
    pub generations_bytes: u64,
    /// Absent where nothing is signed, since there are no policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
}

impl Stages {
    pub fn new(report: Report) -> Self {
        Self { report, generations_bytes: 0, seal: None }
    }

    /// Those of a run that goes on, if any was over. With a key only what it signed counts, and
    /// the files of the stages must be what they were.
    ///
    /// # Errors
    /// A file that isn't ours, that was changed, or that belongs to another run.
    pub fn of(folder: &RunDir, key: Option<&PublicKey>) -> Result<Option<Self>> {
        let path = folder.file(FILE);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let stages: Self = notary::read(&path, Statement::Run, key).map_err(|problem| {
            let next = match key {
                Some(key) => format!(
                    "key {} does not vouch for this run: it was begun by an earlier version, or \
                     changed by somebody else; start a new run",
                    key.id()
                ),
                None => "remove it to repeat the stages that are over".into(),
            };
            Error::file(&path, format!("{problem}; {next}"))
        })?;
        if let (Some(seal), Some(_)) = (&stages.seal, key) {
            let relied = seal.files.iter().filter(|(name, _)| stages.relies_on(name));
            for (name, content) in relied {
                if !content.begins(&folder.file(name)) {
                    let problem = "is not what it was when the run left it (stages.json has its \
                                   digest); bring that back, or start a new run";
                    return Err(Error::file(&folder.file(name), problem));
                }
            }
        }
        Ok(Some(stages))
    }

    /// Whether a run that goes on takes this file as it is.
    fn relies_on(&self, name: &str) -> bool {
        let (baseline, name) = match name.strip_prefix("baseline/") {
            Some(name) => (true, name),
            None => (false, name),
        };
        let trained = if baseline { &self.report.baseline } else { &self.report.trained };
        let of_training = ["adapter/", "adapter-last/"].iter().any(|one| name.starts_with(one))
            || ["metrics.jsonl", "evaluations.jsonl", "steering.safetensors"].contains(&name);
        (trained.is_some() && of_training) || (!baseline && name == GENERATIONS)
    }

    /// Writes that one more stage is over; `answers` is generations.jsonl.
    pub fn keep(
        &mut self,
        answers: &mut Option<Lines>,
        folder: &RunDir,
        notary: Option<Notary<'_>>,
    ) -> Result<()> {
        if let Some(answers) = answers {
            answers.sync()?;
            self.generations_bytes = answers.bytes()?;
        }
        self.begin(folder.path(), notary)
    }

    /// Writes what the run has behind it into its folder, which may still have another name.
    pub fn begin(&mut self, folder: &Path, notary: Option<Notary<'_>>) -> Result<()> {
        let mut files = BTreeMap::new();
        if notary.is_some() {
            for name in names(folder, FILE).map_err(|source| Error::read(folder, source))? {
                if self.relies_on(&name) {
                    let whole = (name == GENERATIONS).then_some(self.generations_bytes);
                    let path = folder.join(&name);
                    let content =
                        Content::of(&path, whole).map_err(|source| Error::read(&path, source))?;
                    files.insert(name, content);
                }
            }
        }
        let in_progress = self.report.trained.is_none();
        if let Some(seal) = &mut self.seal {
            seal.files = files;
            seal.ended = None;
            seal.journal = seal.journal.take().filter(|_| !in_progress);
        }
        self.write(folder, notary)
    }

    /// Writes how the run ended, and what it left. The journal must stand where the last training
    /// left it.
    pub fn close(
        &mut self,
        folder: &RunDir,
        notary: Notary<'_>,
        ended: &str,
        notices: &[String],
    ) -> Result<()> {
        let Some(seal) = &mut self.seal else {
            return Ok(());
        };
        seal.close(folder.path(), FILE, notary, ended)?;
        seal.notices = notices.to_vec();
        self.write(folder.path(), Some(notary))
    }

    fn write(&self, folder: &Path, notary: Option<Notary<'_>>) -> Result<()> {
        let path = folder.join(FILE);
        match notary {
            None => json::write(&path, self)?,
            Some(notary) => {
                let signed = notary.sign(Statement::Run, self);
                json::write(&path, &signed.map_err(|problem| Error::file(&path, problem))?)?;
            }
        }
        own::close_to_others(folder).map_err(|strange| Error::file(&strange.path, strange.problem))
    }
}

/// Refuses to go on with a run that is made of other things now. Another build of the same
/// version goes on, and is told.
///
/// # Errors
/// [`Error::Resume`] that names the first of them.
pub fn goes_on(seal: &Seal, now: &Identity, folder: &RunDir) -> Result<Vec<String>> {
    let (before, after) = (&seal.identity.parts, &now.parts);
    let names = before.keys().chain(after.keys());
    let mut others = names.filter(|name| before.get(*name) != after.get(*name));
    let Some(other) = others.find(|name| *name != program::PART) else {
        let another_build = before.get(program::PART) != after.get(program::PART);
        let notice = "another build of this version began the run: its last digits may differ \
                      (the program's digest is in record 0 of the journal)";
        return Ok(another_build.then(|| notice.to_owned()).into_iter().collect());
    };
    Err(Error::Resume {
        path: folder.path().to_owned(),
        problem: format!(
            "{other} is not what it was when the run began (stages.json has the digests); \
             bring that back, or start a new run"
        ),
    })
}
