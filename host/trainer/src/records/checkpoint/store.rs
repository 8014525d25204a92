//! The folder of a run's checkpoints: written whole, verified, kept few.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host_audit::seal::{Notary, notary};
use host_files::{atomic, json, own, private, sha256};
use host_sandbox::Statement;
use serde::{Deserialize, Serialize};

use super::saved::{FORMAT, Progress, Saved, Tensors, from_bytes, to_bytes};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::records::run_dir::RunDir;

const MANIFEST: &str = "manifest.json";
const STATE: &str = "state.json";
const TENSORS: &str = "tensors.safetensors";

/// Writes checkpoints when they are due, and finds them again.
pub struct Checkpoints<'a> {
    folder: PathBuf,
    signed: Option<Signed<'a>>,
    every_steps: Option<u64>,
    every: Option<Duration>,
    keep: usize,
    last: Instant,
}

/// Who signs, and for which training of the run.
#[derive(Debug, Clone, Copy)]
struct Signed<'a> {
    notary: Notary<'a>,
    arm: &'a str,
}

/// A checkpoint that nobody has looked into yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub step: u64,
    pub path: PathBuf,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// The run and the training that it is of; absent where nothing is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arm: Option<String>,
    files: BTreeMap<String, File>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    bytes: u64,
    sha256: String,
}

impl File {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: sha256::hex(bytes) }
    }
}

impl<'a> Checkpoints<'a> {
    pub fn new(run: &RunDir, config: &CheckpointConfig) -> Self {
        let minutes = config.every_minutes;
        Self {
            folder: run.file("checkpoints"),
            signed: None,
            every_steps: config.every_steps,
            every: (minutes > 0.0).then(|| Duration::from_secs_f64(minutes * 60.0)),
            keep: config.keep,
            last: Instant::now(),
        }
    }

    /// With the signature of the run's owner on each; `arm` is the training that they are of.
    /// One without it is not read.
    pub fn signed_by(self, notary: Option<Notary<'a>>, arm: &'a str) -> Self {
        Self { signed: notary.map(|notary| Signed { notary, arm }), ..self }
    }

    /// Whether one should be written before step `next`.
    pub fn due(&self, next: u64) -> bool {
        let by_steps = self.every_steps.is_some_and(|steps| next.is_multiple_of(steps));
        by_steps || self.every.is_some_and(|every| self.last.elapsed() >= every)
    }

    /// Writes one, reads it back, and removes those that are older than the newest
    /// `keep`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it can't be written; nothing of it is left then, and the
    /// ones before it are untouched.
    pub fn write(&mut self, progress: &Progress, tensors: &Tensors) -> Result<PathBuf> {
        let path = self.folder.join(name(progress.step));
        self.write_to(&path, progress, tensors)
            .and_then(|()| self.whole(&path).map(drop))
            .map_err(|problem| self.failed(&path, &problem))?;
        self.prune();
        self.last = Instant::now();
        Ok(path)
    }

    fn write_to(&self, path: &Path, progress: &Progress, tensors: &Tensors) -> Said<()> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        private::create(&self.folder).map_err(|e| said(&e))?;
        if path.exists() {
            // A run that goes on from an older one comes by again.
            fs::remove_dir_all(path).map_err(|e| said(&e))?;
        }
        let files =
            [(TENSORS, to_bytes(tensors)?), (STATE, json::bytes(progress).map_err(|e| said(&e))?)];
        let manifest = Manifest {
            format: FORMAT,
            run: self.signed.map(|signed| signed.notary.run.to_owned()),
            arm: self.signed.map(|signed| signed.arm.to_owned()),
            files: files
                .iter()
                .map(|(name, bytes)| ((*name).to_owned(), File::of(bytes)))
                .collect(),
        };
        let folder = atomic::Folder::begin(path).map_err(|e| said(&e))?;
        for (name, bytes) in &files {
            atomic::write(&folder.path().join(name), bytes).map_err(|e| said(&e))?;
        }
        let manifest = match self.signed {
            Some(signed) => json::bytes(&signed.notary.sign(Statement::Checkpoint, &manifest)?),
            None => json::bytes(&manifest),
        };
        let manifest = manifest.map_err(|e| said(&e))?;
        atomic::write(&folder.path().join(MANIFEST), &manifest).map_err(|e| said(&e))?;
        folder.finish().map_err(|e| said(&e))
    }

    /// Reads one, and checks every byte and the signature.
    ///
    /// # Errors
    /// [`Error::File`] if a byte is missing or was changed, or somebody else signed it.
    pub fn read(&self, stored: &Stored) -> Result<Saved> {
        let saved = self.whole(&stored.path);
        let saved = saved.map_err(|problem| Error::file(&stored.path, problem))?;
        if saved.progress.step == stored.step {
            Ok(saved)
        } else {
            Err(Error::file(&stored.path, "is of another step than its name"))
        }
    }

    fn whole(&self, folder: &Path) -> Said<Saved> {
        let file = |name: &str| {
            own::open_to_read(&folder.join(name))
                .and_then(|mut file| {
                    let mut bytes = Vec::new();
                    file.read_to_end(&mut bytes).map(|_| bytes)
                })
                .map_err(|error| format!("{name} can't be read ({error})"))
        };
        let key = self.signed.map(|signed| signed.notary.signer.public());
        let manifest: Manifest = notary::read(&folder.join(MANIFEST), Statement::Checkpoint, key)
            .map_err(|problem| format!("{MANIFEST} {problem}"))?;
        if manifest.format != FORMAT {
            return Err(format!(
                "has format {}, and this program reads format {FORMAT}",
                manifest.format
            ));
        }
        if let Some(Signed { notary, arm }) = self.signed
            && (manifest.run.as_deref(), manifest.arm.as_deref()) != (Some(notary.run), Some(arm))
        {
            return Err("is a checkpoint of another run or training".into());
        }
        let whole = |name: &str| {
            let bytes = file(name)?;
            match manifest.files.get(name) {
                Some(expected) if *expected == File::of(&bytes) => Ok(bytes),
                Some(expected) if expected.bytes != bytes.len() as u64 => {
                    Err(format!("{name} has {} of {} bytes", bytes.len(), expected.bytes))
                }
                Some(_) => Err(format!("{name} was changed: its sha256 is another")),
                None => Err(format!("{MANIFEST} does not name {name}")),
            }
        };
        let progress: Progress = serde_json::from_slice(&whole(STATE)?)
            .map_err(|error| format!("{STATE} is damaged ({error})"))?;
        let tensors =
            from_bytes(&whole(TENSORS)?).map_err(|error| format!("{TENSORS}: {error}"))?;
        Ok(Saved { progress, tensors })
    }

    fn failed(&self, path: &Path, problem: &str) -> Error {
        let newest = self.newest_first().into_iter().next();
        Error::Checkpoint {
            path: path.to_owned(),
            problem: problem.to_owned(),
            last: newest.map_or_else(
                || "there is none before it".to_owned(),
                |last| format!("the last one is {}", last.path.display()),
            ),
        }
    }

    /// The new one is whole, so the old ones may go; those that stay because they can't
    /// be removed do no harm.
    fn prune(&self) {
        for stored in self.newest_first().iter().skip(self.keep) {
            let _ = fs::remove_dir_all(&stored.path);
        }
    }

    /// Every checkpoint that there is.
    pub fn newest_first(&self) -> Vec<Stored> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut found: Vec<Stored> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let step = name.to_str()?.strip_prefix("step-")?.parse().ok()?;
                let path = entry.path();
                Some(Stored { step, path })
            })
            .collect();
        found.sort_by_key(|stored| std::cmp::Reverse(stored.step));
        found
    }

    /// Removes what a killed process left half-written. Only for the one process that
    /// holds the run.
    pub fn sweep(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries {
            if entry.file_name().to_string_lossy().ends_with(".partial") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Stored {
    /// Renames one that is damaged, so that it is neither used nor counted.
    pub fn set_aside(&self) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.path.with_file_name(format!("damaged-{name}"));
        // One that stays where it is will be found damaged again.
        let _ = fs::remove_dir_all(&aside);
        let _ = fs::rename(&self.path, &aside);
    }
}

/// A result whose error says what is wrong, without the path.
type Said<T> = std::result::Result<T, String>;

fn name(step: u64) -> String {
    format!("step-{step:06}")
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
