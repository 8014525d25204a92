//! Writes the journal of a run, record by record.

use std::{
    borrow::Borrow,
    fs::{self, File},
    io::{Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use host_files::{atomic, own, sha256::hex as hash};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    COMBINATION, FORMAT, HEAD, KEY, POLICIES, RECORDS, TENSORS,
    blobs::{BlobsWriter, append},
    entry::{self, Answer, Entry, Identity, Mode, PolicySlot, Record, Run},
    head_text,
    reader::{Chain, vouched},
};
use host_contract::{Assessment, Needs, Outcome, Recorded, RunInfo, Signals, Version};
use host_sandbox::{Error, Policy, Result, Signer, Statement, read_signature};

/// What a run is made of.
pub struct Start<'a> {
    pub mode: Mode,
    /// Most that the tensors may take.
    pub budget_bytes: u64,
    pub on_fault: String,
    pub run: &'a RunInfo,
    /// Rules that every assessment must keep.
    pub require: Vec<String>,
    pub identity: &'a Identity,
    /// Each with its settings, needs and parameters.
    pub policies: Vec<(&'a Policy, &'a str, &'a Needs, &'a [u8])>,
}

/// What a policy answered; see [`Answer`].
pub enum Answered<'a> {
    Assessment { assessment: &'a Assessment, fuel: u64, memory_bytes: u64 },
    Fault { error: &'a str, stands_in: Option<&'a Assessment> },
}

/// Where a sealed journal stood, so that a run can go on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Records, and the hash of the last one.
    pub count: u64,
    pub head: String,
    /// Lengths of the two files.
    pub records_bytes: u64,
    pub tensors_bytes: u64,
    /// What was left of the budget for tensors.
    pub budget_left: u64,
    pub unrecorded: u64,
}

/// Signs with a key that it borrows or has.
pub struct JournalWriter<S> {
    folder: PathBuf,
    records: File,
    blobs: BlobsWriter,
    signer: S,
    /// Lines that are not written yet.
    pending: Vec<u8>,
    count: u64,
    head: String,
    /// Assessments whose tensors are not all there.
    unrecorded: u64,
}

impl<S: Borrow<Signer>> JournalWriter<S> {
    /// Makes the folder, which must not exist, and writes the first record.
    ///
    /// # Errors
    /// Files that can't be written, and policy files that changed since they were
    /// loaded.
    pub fn create(folder: &Path, start: &Start<'_>, signer: S) -> Result<Self> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source: std::io::Error| Error::journal(&path, &source)
        };
        own::create_folder(folder).map_err(failed(folder))?;
        let (records, tensors) = (folder.join(RECORDS), folder.join(TENSORS));
        let file = own::create(&records);
        let budget = match start.mode {
            Mode::Full => start.budget_bytes,
            Mode::Light => 0,
        };
        let mut journal = Self {
            records: file.map_err(failed(&records))?,
            blobs: BlobsWriter::create(&tensors, budget)?,
            folder: folder.to_owned(),
            signer,
            pending: Vec::new(),
            count: 0,
            head: hash(b""),
            unrecorded: 0,
        };
        let key = key_text(journal.signer.borrow());
        fs::write(folder.join(KEY), key).map_err(failed(&folder.join(KEY)))?;
        if start.mode == Mode::Full {
            journal.keep_policies(start)?;
        }
        let run = start.run(&mut journal.blobs);
        journal.add(&run)?;
        journal.seal()?;
        Ok(journal)
    }

    /// Opens the journal of a run that goes on from `mark`, which whoever calls must have by the
    /// same key: what comes before it is what the mark says, and its head is signed. What was
    /// written after it is cut off: the run is about to do these steps again.
    ///
    /// # Errors
    /// A journal that is damaged before the mark, that was begun with other policies,
    /// settings or limits or by another version of the host, or signed by another key;
    /// nothing is cut off and nothing is signed then.
    pub fn resume(folder: &Path, start: &Start<'_>, mark: &Mark, signer: S) -> Result<Self> {
        let (records, tensors) = (folder.join(RECORDS), folder.join(TENSORS));
        let wrong =
            |problem: &str| Error::Journal { path: records.clone(), problem: problem.to_owned() };
        let failed = |source: std::io::Error| Error::journal(&records, &source);
        let file = own::open(&records).map_err(failed)?;
        let mut findings = Vec::new();
        let chain = Chain::read(&records, &mut findings).map_err(failed)?;
        let last = usize::try_from(mark.count).ok().and_then(|count| count.checked_sub(1));
        let there = last.is_some_and(|last| {
            chain.hashes.get(last) == Some(&mark.head)
                && chain.ends.get(last) == Some(&mark.records_bytes)
        });
        if !there || findings.iter().any(|found| found.record.is_some_and(|at| at < mark.count)) {
            let problem = "is damaged or cut short before the last checkpoint, so the run can't \
                           go on from there; start it anew, and keep this folder if you want to \
                           know what happened";
            return Err(wrong(problem));
        }
        if own::read_text(&folder.join(KEY), 1 << 14)
            .is_ok_and(|key| key != key_text(signer.borrow()))
        {
            return Err(wrong(
                "is signed by another key; name the key that the run began with (journal.key)",
            ));
        }
        check_head(folder, signer.borrow(), &chain)?;
        let blobs = BlobsWriter::reopen(&tensors, mark.tensors_bytes, mark.budget_left)?;
        let mut journal = Self {
            records: file,
            blobs,
            folder: folder.to_owned(),
            signer,
            pending: Vec::new(),
            count: 0,
            head: hash(b""),
            unrecorded: mark.unrecorded,
        };
        let run = start.run(&mut journal.blobs);
        journal.add(&run)?;
        journal.pending.clear();
        if chain.hashes.first() != Some(&journal.head) {
            return Err(wrong(
                "was begun with other policies, settings or limits, or by another version of \
                 this program; start a new run",
            ));
        }
        journal.count = mark.count;
        journal.head.clone_from(&mark.head);
        let cut = journal.records.set_len(mark.records_bytes);
        cut.and_then(|()| journal.records.seek(SeekFrom::End(0))).map_err(failed)?;
        journal.seal()?;
        Ok(journal)
    }

    /// Where the journal stands. Everything added must have been sealed.
    ///
    /// # Errors
    /// Files that can't be asked for their length.
    pub fn mark(&mut self) -> Result<Mark> {
        debug_assert!(self.pending.is_empty(), "a mark between seals");
        let path = self.folder.join(RECORDS);
        let records_bytes = self.records.stream_position();
        let (tensors_bytes, budget_left) = self.blobs.place()?;
        Ok(Mark {
            count: self.count,
            head: self.head.clone(),
            records_bytes: records_bytes.map_err(|source| Error::journal(&path, &source))?,
            tensors_bytes,
            budget_left,
            unrecorded: self.unrecorded,
        })
    }

    /// Adds what one policy was asked at a step, and what it answered.
    ///
    /// # Errors
    /// What has no JSON.
    pub fn assessment(
        &mut self,
        step: u64,
        policy: usize,
        signals: &Signals,
        state: &[u8],
        answered: &Answered<'_>,
    ) -> Result<()> {
        let written =
            |assessment: &Assessment| entry::assessment(assessment).map_err(|e| self.problem(&e));
        let answer = match answered {
            Answered::Assessment { assessment, fuel, memory_bytes } => Answer::Assessment {
                assessment: written(assessment)?,
                fuel: *fuel,
                memory_bytes: *memory_bytes,
            },
            Answered::Fault { error, stands_in } => Answer::Fault {
                error: (*error).to_owned(),
                stands_in: stands_in.map(written).transpose()?,
            },
        };
        let refused = self.blobs.refused();
        let record = Record {
            step,
            policy,
            signals: Recorded::new(signals, &mut self.blobs),
            state: self.blobs.put(state),
            answer,
        };
        self.unrecorded += u64::from(self.blobs.refused() > refused);
        self.add(&Entry::Assessment(Box::new(record)))
    }

    /// Adds what the assessments of several policies amount to.
    ///
    /// # Errors
    /// What has no JSON.
    pub fn combined(&mut self, step: u64, assessment: &Assessment) -> Result<()> {
        let assessment = entry::assessment(assessment).map_err(|e| self.problem(&e))?;
        self.add(&Entry::Combined { step, assessment })
    }

    /// Writes what was added and signs the new head.
    ///
    /// # Errors
    /// Files that can't be written; a record that doesn't fit on the disk leaves
    /// no part of itself.
    pub fn seal(&mut self) -> Result<()> {
        // Tensors first: a record never names what isn't there.
        self.blobs.flush()?;
        let path = self.folder.join(RECORDS);
        let lines = std::mem::take(&mut self.pending);
        append(&mut self.records, &lines).map_err(|source| Error::journal(&path, &source))?;
        let text = head_text(FORMAT, self.count, &self.head);
        let signature = self.signer.borrow().sign(Statement::Journal, text.as_bytes(), &text)?;
        let path = self.folder.join(HEAD);
        atomic::write_unsynced(&path, signature.as_bytes())
            .map_err(|source| Error::journal(&path, &source))
    }

    /// Adds the last record, seals, and makes sure that all of it is on the disk.
    ///
    /// # Errors
    /// As for [`JournalWriter::seal`].
    pub fn end(&mut self, ending: &str, last: Option<Outcome>) -> Result<()> {
        self.add(&Entry::End { ending: ending.to_owned(), last, unrecorded: self.unrecorded })?;
        self.seal()?;
        self.sync()
    }

    /// Makes sure that what was sealed is on the disk.
    ///
    /// # Errors
    /// Files that can't be written.
    pub fn sync(&self) -> Result<()> {
        self.blobs.sync()?;
        let path = self.folder.join(RECORDS);
        self.records.sync_all().map_err(|source| Error::journal(&path, &source))
    }

    /// Records that were added, and the hash of the last one.
    pub fn head(&self) -> (u64, &str) {
        (self.count, &self.head)
    }

    /// Assessments that can't be replayed, because not all of their tensors fitted into
    /// the budget.
    pub fn unrecorded(&self) -> u64 {
        self.unrecorded
    }

    fn add(&mut self, entry: &Entry) -> Result<()> {
        let mut value = json!({
            "entry": serde_json::to_value(entry).map_err(|e| self.problem(&e))?,
            "previous": self.head,
            "sequence": self.count,
        });
        value.sort_all_objects();
        let line = value.to_string();
        self.head = hash(line.as_bytes());
        self.count += 1;
        self.pending.extend(line.as_bytes());
        self.pending.push(b'\n');
        Ok(())
    }

    fn problem(&self, error: &serde_json::Error) -> Error {
        Error::Journal { path: self.folder.join(RECORDS), problem: error.to_string() }
    }

    /// Copies the components, so that the journal can be audited on its own.
    fn keep_policies(&self, start: &Start<'_>) -> Result<()> {
        let folder = self.folder.join(POLICIES);
        let failed = |source: std::io::Error| Error::journal(&folder, &source);
        fs::create_dir(&folder).map_err(failed)?;
        for (policy, ..) in &start.policies {
            let kept = folder.join(format!("{}.wasm", policy.digest()));
            let bytes = host_sandbox::read(policy.engine(), policy.path().as_ref())?;
            let actual = hash(&bytes);
            if actual != policy.digest() {
                return Err(Error::Digest {
                    file: policy.path().to_owned(),
                    expected: policy.digest().to_owned(),
                    actual,
                });
            }
            fs::write(&kept, bytes).map_err(failed)?;
        }
        Ok(())
    }
}

impl Start<'_> {
    /// The first record.
    fn run(&self, blobs: &mut BlobsWriter) -> Entry {
        let slots = self.policies.iter();
        let slots = slots.map(|(policy, settings, needs, parameters)| PolicySlot {
            name: policy.name().to_owned(),
            version: policy.descriptor().version.clone(),
            file: policy.path().to_owned(),
            sha256: policy.digest().to_owned(),
            settings: (*settings).to_owned(),
            needs: (*needs).clone(),
            parameters: match self.mode {
                Mode::Full => blobs.put_always(parameters),
                Mode::Light => hash(parameters),
            },
        });
        Entry::Run(Box::new(Run {
            format: FORMAT,
            host: env!("CARGO_PKG_VERSION").to_owned(),
            interface: newest(self.policies.iter().map(|(policy, ..)| policy.version())),
            mode: self.mode,
            on_fault: self.on_fault.clone(),
            limits: self
                .policies
                .first()
                .map(|(policy, ..)| policy.limits().clone())
                .unwrap_or_default(),
            run: self.run.clone(),
            policies: slots.collect(),
            combination: if self.policies.len() > 1 { COMBINATION } else { 0 },
            require: self.require.clone(),
            identity: Some(self.identity.clone()),
        }))
    }
}

/// The newest contract that a policy of the run was built for.
fn newest(versions: impl Iterator<Item = Version>) -> String {
    versions.max().unwrap_or(Version::NEWEST).to_string()
}

/// Refuses a journal whose head was signed by somebody else or over other records. One without a
/// head has lost it in a power cut: what is kept of it the mark vouches for.
fn check_head(folder: &Path, signer: &Signer, chain: &Chain) -> Result<()> {
    let path = folder.join(HEAD);
    let wrong = |problem: String| Error::Journal { path: path.clone(), problem };
    let signature = match read_signature(&path) {
        Ok(text) if text.is_empty() => return Ok(()),
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(wrong(error.to_string())),
    };
    match vouched(signer.public(), FORMAT, &signature) {
        Ok(signed) if signed.fits(chain) || signed.is_beyond(chain) => Ok(()),
        Ok(_) => Err(wrong(
            "vouches for other records than are here: they were changed after they were signed; \
             start a new run"
                .into(),
        )),
        Err(why) => Err(wrong(format!("{why}; start a new run"))),
    }
}

fn key_text(signer: &Signer) -> String {
    format!("{}\n", signer.public().to_base64())
}
