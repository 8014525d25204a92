//! Entries of the reference's cache on disk, shared by all runs of a user: the second
//! training of a run, the next run, and several at the same time.
//!
//! One file per entry, written beside its place and renamed: a reader sees a whole entry
//! or none, whoever else writes it writes the same bytes, and what a power cut tears is
//! found by its hash. So nothing is locked and nothing waits for the disk.
//!
//! What this run has used stays; when the budget is spent, what no run has used for
//! longest makes room. Training goes round and round its samples, and for that the usual
//! rule, to drop what was used longest ago, is the worst: each entry would go just before
//! its next turn. Kept first, kept for good, every round finds what fits.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use candle_core::Device;
use host_files::{atomic, private};

use super::entry::ReferenceOutputs;
use super::key::{Basis, SampleKey};
use crate::error::Result;

const SUFFIX: &str = ".reference";
const PARTIAL: &str = ".partial";
/// Others write here too: after this share of the budget the folder is looked at again.
const LOOK_AGAIN: u64 = 16;
/// File systems write times down more coarsely than the clock tells them.
const COARSE: Duration = Duration::from_secs(2);

/// A folder of entries.
pub struct Store {
    folder: PathBuf,
    basis: Basis,
    budget: u64,
    opened: SystemTime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes of all entries, as far as this process knows.
    used: u64,
    written_since_look: u64,
    /// Entries that no run has used since this one began; the oldest last.
    unused: Vec<PathBuf>,
    /// Each kind of trouble is told once.
    damage_told: bool,
    failure_told: bool,
    full: bool,
}

impl Store {
    /// Opens the folder, or makes it with access for its owner alone.
    ///
    /// # Errors
    /// If it can't be made or read, or if others may write to it: what they put there
    /// would become the reference.
    pub fn open(folder: &Path, budget: u64, basis: Basis) -> io::Result<Self> {
        private::folder(folder)?;
        let store = Self {
            folder: folder.to_owned(),
            basis,
            budget,
            opened: SystemTime::now() - COARSE,
            state: Mutex::default(),
        };
        store.look(&mut store.lock())?;
        Ok(store)
    }

    /// The entry of a sample, if it is there and whole.
    pub fn get(&self, sample: &SampleKey, device: &Device) -> Option<ReferenceOutputs> {
        let name = self.basis.name(sample);
        let path = self.path(&name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.failed(&path, "can't be read; it is computed again", &error);
                return None;
            }
        };
        let known = ReferenceOutputs::from_bytes(&name, &bytes, device);
        match &known {
            Some(_) => self.touch(&path),
            None => self.damaged(&path),
        }
        known
    }

    /// Keeps an entry, if it fits. A cache that can't be written costs time, never a run.
    pub fn put(&self, sample: &SampleKey, known: &ReferenceOutputs) -> Result<()> {
        let name = self.basis.name(sample);
        let bytes = known.to_bytes(&name)?;
        let path = self.path(&name);
        if self.make_room(bytes.len() as u64)
            && let Err(error) = self.write(&path, &bytes)
        {
            let what = "can't be written; nothing more is kept on disk";
            self.failed(&path, what, &error);
            self.lock().full = true;
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        atomic::write_entry(path, &[bytes])?;
        let mut state = self.lock();
        state.used += bytes.len() as u64;
        state.written_since_look += bytes.len() as u64;
        Ok(())
    }

    /// Removes unused entries until `bytes` more fit; false if they can't.
    fn make_room(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        if state.full || bytes > self.budget {
            return false;
        }
        if state.written_since_look > self.budget / LOOK_AGAIN
            && let Err(error) = self.look(&mut state)
        {
            state.full = true;
            drop(state);
            let what = "can't be read; nothing more is kept on disk";
            self.failed(&self.folder, what, &error);
            return false;
        }
        while state.used + bytes > self.budget {
            let Some(path) = state.unused.pop() else {
                // Nothing ever becomes unused while this run goes on.
                state.full = true;
                return false;
            };
            // Someone may have removed it, or come to use it.
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            if self.is_unused(&metadata) && fs::remove_file(&path).is_ok() {
                state.used = state.used.saturating_sub(metadata.len());
            }
        }
        true
    }

    /// What is in the folder. Files of another name are none of ours.
    fn look(&self, state: &mut State) -> io::Result<()> {
        let (mut used, mut unused) = (0, Vec::new());
        for item in fs::read_dir(&self.folder)? {
            let item = item?;
            let name = item.file_name();
            let name = name.to_string_lossy();
            let ours = name.ends_with(SUFFIX) || name.starts_with('.') && name.ends_with(PARTIAL);
            // It may be gone by now.
            let (true, Ok(metadata)) = (ours, item.metadata()) else {
                continue;
            };
            used += metadata.len();
            if self.is_unused(&metadata) {
                unused.push((metadata.modified()?, item.path()));
            }
        }
        unused.sort_by(|(one, _), (other, _)| other.cmp(one));
        state.used = used;
        state.written_since_look = 0;
        state.unused = unused.into_iter().map(|(_, path)| path).collect();
        Ok(())
    }

    fn is_unused(&self, metadata: &fs::Metadata) -> bool {
        metadata.modified().is_ok_and(|time| time < self.opened)
    }

    /// Marks an entry as used by a run that is going on.
    fn touch(&self, path: &Path) {
        let touched = File::open(path).and_then(|file| {
            if self.is_unused(&file.metadata()?) {
                file.set_modified(SystemTime::now())?;
            }
            Ok(())
        });
        // Another run may have removed it: then it is written again some day.
        if let Err(error) = touched {
            tracing::debug!("{}: {error}", path.display());
        }
    }

    fn damaged(&self, path: &Path) {
        if !std::mem::replace(&mut self.lock().damage_told, true) {
            tracing::warn!(
                "{}: this entry of the reference's cache is damaged; it is computed again, like any \
                 other such entry",
                path.display()
            );
        }
    }

    fn failed(&self, path: &Path, what: &str, error: &io::Error) {
        if !std::mem::replace(&mut self.lock().failure_told, true) {
            tracing::warn!("the reference's cache: {} {what} ({error})", path.display());
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
