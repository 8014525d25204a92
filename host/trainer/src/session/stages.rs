//! stages.json: what a run has behind it, so that one that goes on repeats nothing; and, signed,
//! the files that it relies on then, or that it left when it ended.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::Path;

use host_audit::journal::{Identity, standing};
use host_eval::report::Report;
use host_files::sha256::Running;
use host_files::{json, own};
use host_sandbox::{PublicKey, Statement};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::program;
use crate::records::notary::{self, Notary};
use crate::records::run_dir::{JournalHead, Lines, RunDir};

pub(crate) const FILE: &str = "stages.json";
const GENERATIONS: &str = "generations.jsonl";
/// What has signatures of its own, wherever it is in a run.
const SIGNED: [&str; 2] = ["checkpoints", "journal"];

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

/// What the owner's key vouches for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// What the run is made of, as record 0 of its journal names it.
    pub identity: Identity,
    /// Seconds since 1970.
    pub started: u64,
    pub notices: Vec<String>,
    /// How the run ended, once it did: finished, interrupted, stopped or failed.
    pub ended: Option<String>,
    /// Where the journal stands after the last training.
    pub journal: Option<JournalHead>,
    /// By their paths in the folder of the run: while it goes on those that it relies on, and
    /// when it ended all that it left.
    pub files: BTreeMap<String, Content>,
}

/// The first bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    pub bytes: u64,
    pub sha256: String,
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
            for name in names(folder).map_err(|source| Error::read(folder, source))? {
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
        let journal = folder.file("journal");
        if journal.is_dir() {
            let found = standing(&journal, notary.signer.public())?;
            let head = JournalHead { records: found.records, head: found.head };
            let other = seal.journal.as_ref().is_some_and(|left| *left != head);
            if other || found.run.as_deref() != Some(notary.run) {
                let problem = "is not the one that this run left; it is not signed again";
                return Err(Error::file(&journal, problem));
            }
            seal.journal = Some(head);
        }
        seal.ended = Some(ended.into());
        seal.notices = notices.to_vec();
        seal.files.clear();
        let failed = |path: &Path, source| Error::read(path, source);
        for name in names(folder.path()).map_err(|source| failed(folder.path(), source))? {
            let path = folder.file(&name);
            let content = Content::of(&path, None).map_err(|source| failed(&path, source))?;
            seal.files.insert(name, content);
        }
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

impl Seal {
    /// Refuses to go on with a run that is made of other things now. Another build of the same
    /// version goes on, and is told.
    ///
    /// # Errors
    /// [`Error::Resume`] that names the first of them.
    pub fn check(&self, now: &Identity, folder: &RunDir) -> Result<Vec<String>> {
        let (before, after) = (&self.identity.parts, &now.parts);
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
}

impl Content {
    /// Of a whole file, or of its first bytes.
    pub fn of(path: &Path, bytes: Option<u64>) -> io::Result<Self> {
        let file = own::open_to_read(path)?;
        let mut digest = Running::default();
        let bytes = digest.read(&mut file.take(bytes.unwrap_or(u64::MAX)))?;
        Ok(Self { bytes, sha256: digest.hex() })
    }

    /// Whether a file begins so.
    pub fn begins(&self, path: &Path) -> bool {
        Self::of(path, Some(self.bytes)).is_ok_and(|found| found == *self)
    }

    /// Whether that is all of a file.
    pub fn is(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == self.bytes)
            && self.begins(path)
    }
}

/// Paths of all files in a run that have no signature of their own. Those that begin with a dot
/// are temporary.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut left = vec![String::new()];
    while let Some(inside) = left.pop() {
        for entry in folder.join(&inside).read_dir()? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type()?.is_dir();
            let path = format!("{inside}{name}");
            if name.starts_with('.') || path == FILE || (is_folder && SIGNED.contains(&&*name)) {
                continue;
            }
            if is_folder {
                left.push(format!("{path}/"));
            } else {
                names.push(path);
            }
        }
    }
    names.sort();
    Ok(names)
}
