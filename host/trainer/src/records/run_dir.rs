//! The folder of a run:
//!
//! ```text
//! config.toml         the resolved configuration
//! manifest.json       versions, digests, seeds, and how the run ended
//! calibration.json    the policy's fitted parameters and its report
//! steering/           the vectors that a policy steers by
//! metrics.jsonl       one line per optimizer step
//! evaluations.jsonl   one line per evaluation between steps, if there are any
//! journal/            what the policies were asked and answered, see host_audit::journal
//! checkpoints/        what the run needs to go on, see crate::checkpoint
//! stages.json         what the run has behind it and what it left, signed
//! generations.jsonl   every answer the evaluation judged
//! adapter/            the result, in peft's format
//! adapter-last/       the adapter of the last step, where the result is that of a better one
//! steering.safetensors what the policies allow the model to be steered by
//! report.json         the evaluation before and after
//! ```
//!
//! Whole files are written beside their place and renamed, so a reader never sees
//! half of one. A line that could not be written in full is cut off again.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Instant;

use host_audit::journal::{Answered, JournalWriter, Mark};
use host_audit::seal::JournalHead;
use host_contract::Outcome;
use host_data::Failure;
use host_eval::selection::EvaluationRecord;
pub use host_files::Lines;
use host_files::atomic::{self, Folder};
use host_files::{json, own, private};
use host_sandbox::Signer;
use serde::{Deserialize, Serialize};

use crate::config::{CONFIG, check_run};
use crate::error::{Error, Result};
use crate::policies::StepDecision;
use crate::records::StepRecord;

#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the folder, which must not exist, with its configuration in it: whoever is killed
    /// meanwhile leaves a run that can go on, or no run.
    pub fn create(path: &Path, config: &str) -> Result<Self> {
        Self::create_with(path, config, |_| Ok(()))
    }

    /// The same with more files from the start, which `fill` writes into the folder while it
    /// still has another name. It is for its owner alone: it holds what training data do to the
    /// model.
    pub fn create_with(
        path: &Path,
        config: &str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        Self::check_free(path)?;
        let made = Folder::begin(path).map_err(Error::from).and_then(|folder| {
            own::close_to_others(folder.path())
                .map_err(|strange| Error::file(path, strange.problem))?;
            atomic::write(&folder.path().join(CONFIG), config.as_bytes())?;
            fill(folder.path())?;
            Ok(folder.finish()?)
        });
        match made {
            Ok(()) => Ok(Self { path: path.into() }),
            // Another process was faster.
            Err(_) if path.exists() => Err(Error::OutputExists { path: path.into() }),
            // Where it was to be, and not its name meanwhile.
            Err(Error::Failure(Failure::Write { source, .. })) => Err(Error::write(path, source)),
            Err(other) => Err(other),
        }
    }

    /// The folder of a run that is to go on. Nothing in it may be a link or somebody else's, as
    /// it is going to be cut and written on.
    pub fn open(path: &Path) -> Result<Self> {
        check_run(path)?;
        match own::check(path) {
            Ok(()) => Ok(Self { path: path.into() }),
            Err(strange) => Err(Error::Resume { path: strange.path, problem: strange.problem }),
        }
    }

    /// Keeps other processes from going on with this run until the file is dropped.
    /// `config.toml` is what is locked, and so only [`reconfigure`](Self::reconfigure)
    /// replaces it.
    pub fn lock(&self) -> Result<File> {
        let path = self.file(CONFIG);
        let file = File::open(&path).map_err(|source| Error::read(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::Resume {
                path: self.path.clone(),
                problem: "another process is working on it; wait for it to end".into(),
            }),
            // A file system without locks: nothing to keep anybody out with.
            Err(TryLockError::Error(_)) => Ok(file),
        }
    }

    /// Replaces the configuration of a run whose lock is held. The result holds that of the
    /// new file, beside which the old one is to be kept: others may have opened it already.
    pub fn reconfigure(&self, config: &str) -> Result<File> {
        Ok(atomic::write_locked(&self.file(CONFIG), config.as_bytes())?)
    }

    /// Refuses a folder that `create` would refuse because it exists.
    pub fn check_free(path: &Path) -> Result<()> {
        if path.exists() { Err(Error::OutputExists { path: path.into() }) } else { Ok(()) }
    }

    /// The first free runs/NAME-N.
    pub fn free_path(name: &str) -> PathBuf {
        let numbered = |number: u32| Path::new("runs").join(format!("{name}-{number}"));
        (1..).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| numbered(0))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        Ok(json::write(&self.file(name), value)?)
    }

    pub fn lines_from(&self, name: &str, bytes: u64) -> Result<Lines> {
        Ok(Lines::reopen(&self.file(name), bytes)?)
    }

    /// A folder inside the run, for a run that belongs to it (the baseline).
    pub fn child(&self, name: &str) -> Result<RunDir> {
        let path = self.file(name);
        private::create(&path).map_err(|source| Error::write(&path, source))?;
        Ok(Self { path })
    }

    /// Removes a file or a folder of the run, if it is there.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.file(name);
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::write(&path, error))
            }
            _ => Ok(()),
        }
    }

    /// `journal` is absent without a policy.
    pub fn records<'a>(&self, journal: Option<JournalWriter<&'a Signer>>) -> Result<Records<'a>> {
        let metrics = Lines::create(&self.file("metrics.jsonl"))?;
        Ok(Records { metrics, evaluations: None, journal, last: None })
    }

    /// Records that go on from a mark; what came after it is cut off.
    pub fn records_from<'a>(
        &self,
        mark: &RecordsMark,
        last: Option<Outcome>,
        journal: Option<JournalWriter<&'a Signer>>,
    ) -> Result<Records<'a>> {
        Ok(Records {
            metrics: Lines::reopen(&self.file("metrics.jsonl"), mark.metrics_bytes)?,
            evaluations: None,
            journal,
            last,
        })
    }
}

/// How far the records of a run reach at a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordsMark {
    pub metrics_bytes: u64,
    /// Of evaluations.jsonl.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub evaluations_bytes: u64,
    /// Absent without a policy.
    pub journal: Option<Mark>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// The whole file or nothing; see [`host_files::atomic`].
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(atomic::write(path, bytes)?)
}

/// metrics.jsonl and, if there is a policy, the journal.
pub struct Records<'a> {
    metrics: Lines,
    /// If there are evaluations between the steps.
    evaluations: Option<Lines>,
    journal: Option<JournalWriter<&'a Signer>>,
    /// What became of the last step.
    last: Option<Outcome>,
}

impl Records<'_> {
    /// Also keeps evaluations, in `lines`.
    pub fn evaluated_in(&mut self, lines: Lines) {
        self.evaluations = Some(lines);
    }

    /// What an evaluation found.
    pub fn evaluated(&mut self, record: &EvaluationRecord) -> Result<()> {
        match &mut self.evaluations {
            Some(lines) => Ok(lines.write(record)?),
            None => Ok(()),
        }
    }

    /// What the policies were asked and said, before it is acted upon.
    pub fn assessed(&mut self, step: u64, decision: &mut StepDecision) -> Result<()> {
        let started = Instant::now();
        if let Some(journal) = &mut self.journal {
            for (policy, answer) in decision.answers.iter().enumerate() {
                let answered = match &answer.fault {
                    None => Answered::Assessment {
                        assessment: &answer.assessment,
                        fuel: answer.fuel,
                        memory_bytes: answer.memory_bytes,
                    },
                    Some(error) => Answered::Fault {
                        error,
                        stands_in: decision.failed.is_none().then_some(&answer.assessment),
                    },
                };
                journal.assessment(step, policy, &answer.signals, &answer.state, &answered)?;
            }
            if decision.answers.len() > 1 && decision.failed.is_none() {
                journal.combined(step, &decision.assessment)?;
            }
            journal.seal()?;
        }
        decision.recording = started.elapsed();
        Ok(())
    }

    /// What became of the step.
    pub fn step(&mut self, record: &StepRecord, outcome: Outcome) -> Result<()> {
        self.last = Some(outcome);
        Ok(self.metrics.write(record)?)
    }

    /// Puts all of it on the disk, and says how far it reaches.
    pub fn mark(&mut self) -> Result<RecordsMark> {
        self.metrics.sync()?;
        let evaluations_bytes = match &mut self.evaluations {
            Some(lines) => {
                lines.sync()?;
                lines.bytes()?
            }
            None => 0,
        };
        let journal = match &mut self.journal {
            Some(journal) => {
                journal.sync()?;
                Some(journal.mark()?)
            }
            None => None,
        };
        Ok(RecordsMark { metrics_bytes: self.metrics.bytes()?, evaluations_bytes, journal })
    }

    /// How the run ended.
    pub fn end(&mut self, ending: &str) -> Result<()> {
        match &mut self.journal {
            Some(journal) => Ok(journal.end(ending, self.last)?),
            None => Ok(()),
        }
    }

    /// Where the journal stands, if there is one.
    pub fn head(&self) -> Option<JournalHead> {
        let (records, head) = self.journal.as_ref()?.head();
        Some(JournalHead { records, head: head.to_owned() })
    }

    /// Assessments that the journal had no room for, so that they can't be replayed.
    pub fn unrecorded(&self) -> u64 {
        let journal = self.journal.as_ref();
        journal.map_or(0, JournalWriter::unrecorded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_folder_is_never_touched() {
        let folder = tempfile::tempdir().expect("temp");
        let path = folder.path().join("a/run");
        let run = RunDir::create(&path, "seed = 1\n").expect("fresh");
        let error = RunDir::create(&path, "seed = 2\n").expect_err("exists");
        let error = error.to_string();
        assert!(error.contains("exists already; choose another --output"), "{error}");
        assert_eq!(std::fs::read_to_string(run.file("config.toml")).expect("kept"), "seed = 1\n");
    }

    #[test]
    fn of_many_that_begin_a_run_at_once_one_does_and_nothing_is_left_of_the_others() {
        let folder = tempfile::tempdir().expect("temp");
        let path = folder.path().join("run");
        let begun = std::thread::scope(|scope| {
            let begin = |number: usize| {
                let path = &path;
                scope.spawn(move || RunDir::create(path, &format!("seed = {number}\n")).is_ok())
            };
            let all: Vec<_> = (0..8).map(begin).collect();
            all.into_iter().filter_map(|one| one.join().ok()).filter(|begun| *begun).count()
        });
        assert_eq!(begun, 1);
        let left = std::fs::read_dir(folder.path()).expect("read").count();
        assert_eq!(left, 1);
        RunDir::open(&path).expect("whole");
    }

    #[test]
    fn a_whole_file_replaces_the_old_one_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().expect("temp");
        let path = folder.path().join("x.json");
        json::write(&path, &[1]).expect("written");
        json::write(&path, &[2]).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "[\n  2\n]\n");
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);
    }
}
