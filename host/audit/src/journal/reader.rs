//! Reads a journal that nobody vouches for, and finds what doesn't fit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use host_files::sha256::hex as hash;
use serde::{Deserialize, Serialize};

use super::{
    FORMAT, HEAD, KEY, POLICIES, RECORDS, TENSORS,
    blobs::Blobs,
    entry::{Entry, PolicySlot, Run},
    head_text,
};
use host_files::text::clean;
use host_sandbox::{Error, PublicKey, Result};

/// A journal as it was found.
#[derive(Debug)]
pub struct Journal {
    pub(super) folder: PathBuf,
    pub run: Run,
    /// All records, the first included; up to the first that can't be read.
    pub entries: Vec<Entry>,
    pub verified: Verified,
    pub(super) blobs: Blobs,
}

/// What was checked without asking any policy.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    pub records: u64,
    /// Hash of the last record.
    pub head: String,
    /// The key that signed the head.
    pub key: String,
    /// Its own key, recorded beside it, rather than one that the reader named: this
    /// shows that nothing was changed since, not who made it.
    pub key_is_recorded: bool,
    /// Empty if all is well.
    pub findings: Vec<Finding>,
}

/// Something that doesn't fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The record it is about, from 0.
    pub record: Option<u64>,
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    entry: Entry,
    previous: String,
    sequence: u64,
}

impl Finding {
    pub(super) fn at(record: u64, problem: impl Into<String>) -> Self {
        Self { record: Some(record), problem: problem.into() }
    }

    pub(super) fn whole(problem: impl Into<String>) -> Self {
        Self { record: None, problem: problem.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.record {
            Some(record) => write!(f, "record {record}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl Journal {
    /// Reads a journal folder and verifies chain, count and signature: by `key` if one
    /// is named, else by the key that lies in the folder.
    ///
    /// # Errors
    /// A folder without a journal, and a first record that can't be read. Everything
    /// else that is wrong becomes a finding.
    pub fn read(folder: &Path, key: Option<&PublicKey>) -> Result<Self> {
        let path = folder.join(RECORDS);
        let bytes = fs::read(&path).map_err(|source| Error::journal(&path, &source))?;
        let mut findings = Vec::new();
        let chain = chain(&bytes, &mut findings);
        let Some(Entry::Run(run)) = chain.entries.first().cloned() else {
            let why = findings.first().map_or_else(
                || "the first record does not describe a run".to_owned(),
                ToString::to_string,
            );
            return Err(Error::Journal { path, problem: why });
        };
        if run.format != FORMAT {
            let problem = format!("has format {}, and this host reads format {FORMAT}", run.format);
            return Err(Error::Journal { path, problem });
        }
        order(&chain.entries, &run, &mut findings);
        let (key, key_is_recorded) = match key {
            Some(key) => (Some(key.clone()), false),
            None => (recorded_key(folder), true),
        };
        match &key {
            Some(key) => findings.extend(head(folder, key, &chain)),
            None => findings.push(Finding::whole(format!(
                "{KEY} is missing or no key, so the signature can't be checked; name the key"
            ))),
        }
        let blobs = Blobs::open(&folder.join(TENSORS))?;
        if blobs.is_cut() {
            findings.push(Finding::whole(format!("{TENSORS} is cut short or damaged")));
        }
        Ok(Self {
            folder: folder.to_owned(),
            verified: Verified {
                records: chain.hashes.len() as u64,
                head: chain.hashes.last().cloned().unwrap_or_default(),
                key: key.map_or_else(|| "none".into(), |key| key.id()),
                key_is_recorded,
                findings,
            },
            run: *run,
            entries: chain.entries,
            blobs,
        })
    }

    /// Where the component of a policy of this run was kept.
    pub fn component(&self, slot: &PolicySlot) -> PathBuf {
        // A digest is hexadecimal or it names no file of ours.
        let name: String = slot.sha256.chars().filter(char::is_ascii_hexdigit).collect();
        self.folder.join(POLICIES).join(format!("{name}.wasm"))
    }

    /// The parameters of a policy of this run.
    ///
    /// # Errors
    /// If they were not recorded, or changed since.
    pub fn parameters(&self, slot: &PolicySlot) -> Result<Vec<u8>> {
        self.blobs.get(&slot.parameters)
    }
}

struct Chain {
    entries: Vec<Entry>,
    /// Of every line, readable or not.
    hashes: Vec<String>,
}

/// Follows the hashes from line to line.
fn chain(bytes: &[u8], findings: &mut Vec<Finding>) -> Chain {
    let mut chain = Chain { entries: Vec::new(), hashes: Vec::new() };
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.pop().is_some_and(|rest| !rest.is_empty()) {
        let record = lines.len() as u64;
        findings.push(Finding::at(record, "is cut short"));
    }
    let mut previous = hash(b"");
    let mut readable = true;
    for (number, line) in (0u64..).zip(lines) {
        match serde_json::from_slice::<Line>(line) {
            Ok(read) => {
                if read.previous != previous {
                    let problem = "does not follow the record before it: one of the two was \
                                   changed, inserted, removed or moved";
                    findings.push(Finding::at(number, problem));
                }
                if read.sequence != number {
                    let problem = format!("calls itself record {}", read.sequence);
                    findings.push(Finding::at(number, problem));
                }
                if readable {
                    chain.entries.push(read.entry);
                }
            }
            Err(e) => {
                let problem = format!("can't be read ({})", clean(&e.to_string(), 200));
                findings.push(Finding::at(number, problem));
                readable = false;
            }
        }
        previous = hash(line);
        chain.hashes.push(previous.clone());
    }
    chain
}

/// Count and last hash of records that follow one another without a gap; none of
/// others.
pub(super) fn unbroken(bytes: &[u8]) -> Option<(u64, String)> {
    let mut findings = Vec::new();
    let chain = chain(bytes, &mut findings);
    let head = chain.hashes.last()?.clone();
    findings.is_empty().then_some((chain.hashes.len() as u64, head))
}

/// Whether the records come in the order in which a run writes them.
fn order(entries: &[Entry], run: &Run, findings: &mut Vec<Finding>) {
    let several = run.policies.len() > 1;
    let mut expected = (0u64, 0usize);
    let mut ended = false;
    for (number, entry) in (0u64..).zip(entries).skip(1) {
        if std::mem::replace(&mut ended, matches!(entry, Entry::End { .. })) {
            findings.push(Finding::at(number, "comes after the end of the run"));
        }
        let place = match entry {
            Entry::Run(_) => {
                findings.push(Finding::at(number, "describes a run in the middle of one"));
                continue;
            }
            Entry::End { .. } => continue,
            Entry::Assessment(record) => (record.step, record.policy),
            Entry::Combined { step, .. } => (*step, run.policies.len()),
        };
        if place != expected {
            let problem =
                format!("is of step {}, and step {} was to come next", place.0, expected.0);
            findings.push(Finding::at(number, problem));
        }
        let last = if several { run.policies.len() } else { 0 };
        expected = if place.1 >= last { (place.0 + 1, 0) } else { (place.0, place.1 + 1) };
    }
    if !ended {
        let problem = "the run has no end: it was cut off, or its last records were removed";
        findings.push(Finding::whole(problem));
    }
}

fn recorded_key(folder: &Path) -> Option<PublicKey> {
    PublicKey::parse(&fs::read_to_string(folder.join(KEY)).ok()?)
}

/// Compares the signed head with the records.
fn head(folder: &Path, key: &PublicKey, chain: &Chain) -> Option<Finding> {
    let signature = match fs::read_to_string(folder.join(HEAD)) {
        Ok(signature) => signature,
        Err(e) => return Some(Finding::whole(format!("{HEAD} can't be read ({e})"))),
    };
    let (count, last) = (chain.hashes.len() as u64, chain.hashes.last());
    let text = head_text(count, last.map_or("", String::as_str));
    let why = key.verify(text.as_bytes(), &signature).err()?;
    let signed = signed_count(&signature);
    let problem = match signed {
        Some(signed) if signed > count => {
            format!("{signed} records were signed and {count} are here: the rest was removed")
        }
        Some(signed) if signed < count && is_prefix(key, &signature, signed, chain) => format!(
            "records {signed} to {} are not signed: the run was cut off there, or they were added",
            count - 1
        ),
        _ => format!("the signature of the head {why}"),
    };
    Some(Finding::whole(problem))
}

/// The count that a signature speaks of. Only its comment says so, which is why
/// nothing is concluded from it but words.
fn signed_count(signature: &str) -> Option<u64> {
    let comment = signature.lines().nth(2)?;
    let rest = comment.split_once(" records ")?.1;
    rest.split_whitespace().next()?.parse().ok()
}

fn is_prefix(key: &PublicKey, signature: &str, count: u64, chain: &Chain) -> bool {
    let last = (count as usize).checked_sub(1);
    let Some(last) = last.and_then(|last| chain.hashes.get(last)) else {
        return false;
    };
    key.verify(head_text(count, last).as_bytes(), signature).is_ok()
}
