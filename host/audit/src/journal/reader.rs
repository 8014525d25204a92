//! Reads a journal that nobody vouches for, and finds what doesn't fit.

use std::{
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use host_files::{own, sha256::hex as hash};
use serde::{Deserialize, Serialize};

use super::{
    FORMAT, HEAD, KEY, POLICIES, RECORDS, TENSORS,
    blobs::Blobs,
    entry::{Entry, Identity, PolicySlot, Run},
    finding::Finding,
    head_text, order,
};
use host_files::text::clean;
use host_sandbox::{Error, PublicKey, Result, Statement, read_signature};

/// Most bytes of one record. Those of a step of 10^6 answer tokens have some 50 MB.
const LINE_BYTES: u64 = 256 << 20;
/// Most bytes of all records.
const RECORDS_BYTES: u64 = 16 << 30;
/// Most bytes of the file with the key.
const KEY_BYTES: u64 = 16 << 10;

/// A journal as it was found.
#[derive(Debug)]
pub struct Journal {
    pub(super) folder: PathBuf,
    pub run: Run,
    /// All records, the first included; up to the first that can't be read.
    pub entries: Vec<Entry>,
    pub verified: Verified,
    /// The key that signed it, named or recorded.
    pub key: Option<PublicKey>,
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

impl Verified {
    /// Who signed it, and what that shows, in words.
    pub fn signature(&self) -> String {
        if self.key_is_recorded {
            format!(
                "by key {}, which lies beside the journal: whoever changed one can have changed \
                 the other (--key FILE names the one to trust)",
                self.key
            )
        } else {
            format!("checked with the key {} that was named", self.key)
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    entry: Entry,
    previous: String,
    sequence: u64,
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
        let mut findings = Vec::new();
        let chain = Chain::read(&path, &mut findings)
            .map_err(|source| Error::Journal { path: path.clone(), problem: source.to_string() })?;
        let Some(Entry::Run(run)) = chain.entries.first().cloned() else {
            let why = findings.first().map_or_else(
                || "the first record does not describe a run".to_owned(),
                ToString::to_string,
            );
            return Err(Error::Journal { path, problem: why });
        };
        if !(1..=FORMAT).contains(&run.format) {
            let problem =
                format!("has format {}, and this host reads formats 1 to {FORMAT}", run.format);
            return Err(Error::Journal { path, problem });
        }
        let identified = run.identity.as_ref().is_some_and(Identity::fits);
        if identified != (run.format > 1) {
            findings.push(Finding::at(0, "does not name what the run is made of by its digests"));
        }
        order::check(&chain.entries, &run, &mut findings);
        let (key, key_is_recorded) = match key {
            Some(key) => (Some(key.clone()), false),
            None => (recorded_key(folder), true),
        };
        match &key {
            Some(key) => findings.extend(head(folder, key, run.format, &chain)),
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
                key: key.as_ref().map_or_else(|| "none".into(), PublicKey::id),
                key_is_recorded,
                findings,
            },
            run: *run,
            key,
            entries: chain.entries,
            blobs,
        })
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
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

/// The lines of a journal, hash by hash.
pub(super) struct Chain {
    entries: Vec<Entry>,
    /// Of every line, readable or not.
    pub hashes: Vec<String>,
    /// Where each line ends.
    pub ends: Vec<u64>,
}

impl Chain {
    /// Follows the hashes from line to line.
    ///
    /// # Errors
    /// A file that can't be read, or that is larger than a journal may be.
    pub fn read(path: &Path, findings: &mut Vec<Finding>) -> io::Result<Self> {
        let file = own::open_to_read(path)?;
        if file.metadata()?.len() > RECORDS_BYTES {
            let problem = format!("has more than the {RECORDS_BYTES} bytes that are read");
            return Err(io::Error::other(problem));
        }
        let mut lines = BufReader::new(file);
        let mut chain = Self { entries: Vec::new(), hashes: Vec::new(), ends: Vec::new() };
        let (mut previous, mut end, mut readable) = (hash(b""), 0, true);
        for number in 0u64.. {
            let mut line = Vec::new();
            let bytes = (&mut lines).take(LINE_BYTES + 1).read_until(b'\n', &mut line)? as u64;
            if bytes > LINE_BYTES {
                let problem = format!("record {number} has more than {LINE_BYTES} bytes");
                return Err(io::Error::other(problem));
            }
            if line.pop() != Some(b'\n') {
                if bytes > 0 {
                    findings.push(Finding::at(number, "is cut short"));
                }
                break;
            }
            end += bytes;
            readable &= chain.line(number, &line, &previous, readable, findings);
            previous = hash(&line);
            chain.hashes.push(previous.clone());
            chain.ends.push(end);
        }
        Ok(chain)
    }

    /// Takes a record in; false if it can't be read.
    fn line(
        &mut self,
        number: u64,
        line: &[u8],
        previous: &str,
        keep: bool,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let read = match serde_json::from_slice::<Line>(line) {
            Ok(read) => read,
            Err(e) => {
                let problem = format!("can't be read ({})", clean(&e.to_string(), 200));
                findings.push(Finding::at(number, problem));
                return false;
            }
        };
        if read.previous != previous {
            let problem = "does not follow the record before it: one of the two was changed, \
                           inserted, removed or moved";
            findings.push(Finding::at(number, problem));
        }
        if read.sequence != number {
            let problem = format!("calls itself record {}", read.sequence);
            findings.push(Finding::at(number, problem));
        }
        if keep {
            self.entries.push(read.entry);
        }
        true
    }
}

/// Where a journal stands that its key vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Records, and the hash of the last one.
    pub records: u64,
    pub head: String,
    /// [`Identity::run`](super::Identity), if the journal has one.
    pub run: Option<String>,
}

/// Says where a journal stands if it is whole and its head is signed by `key`.
///
/// # Errors
/// The first thing that is wrong with it: nothing further may be signed then.
pub fn standing(folder: &Path, key: &PublicKey) -> Result<Standing> {
    let path = folder.join(RECORDS);
    let wrong = |problem: String| Error::Journal { path: path.clone(), problem };
    let mut findings = Vec::new();
    let chain = Chain::read(&path, &mut findings).map_err(|e| wrong(e.to_string()))?;
    let Some(Entry::Run(run)) = chain.entries.first() else {
        return Err(wrong("the first record does not describe a run".into()));
    };
    findings.extend(head(folder, key, run.format, &chain));
    if let Some(found) = findings.first() {
        return Err(wrong(found.to_string()));
    }
    Ok(Standing {
        records: chain.hashes.len() as u64,
        head: chain.hashes.last().cloned().unwrap_or_default(),
        run: run.identity.as_ref().map(|identity| identity.run.clone()),
    })
}

fn recorded_key(folder: &Path) -> Option<PublicKey> {
    PublicKey::parse(&own::read_text(&folder.join(KEY), KEY_BYTES).ok()?)
}

/// Compares the signed head with the records.
fn head(folder: &Path, key: &PublicKey, format: u32, chain: &Chain) -> Option<Finding> {
    let signature = match read_signature(&folder.join(HEAD)) {
        Ok(signature) => signature,
        Err(e) => return Some(Finding::whole(format!("{HEAD} can't be read ({e})"))),
    };
    let count = chain.hashes.len() as u64;
    let problem = match vouched(key, format, &signature) {
        Ok(signed) if signed.fits(chain) && signed.count == count => return None,
        Ok(signed) if signed.fits(chain) => format!(
            "records {} to {} are not signed: the run was cut off there, or they were added",
            signed.count,
            count - 1
        ),
        Ok(signed) if signed.count > count => format!(
            "{} records were signed and {count} are here: the rest was removed",
            signed.count
        ),
        Ok(_) => "the signature of the head does not fit: something was changed after it was \
                  signed"
            .to_owned(),
        Err(why) => format!("the signature of the head {why}"),
    };
    Some(Finding::whole(problem))
}

/// The last record that a signature vouches for.
pub(super) struct Vouched {
    count: u64,
    head: String,
}

impl Vouched {
    /// Whether it is a record of this journal.
    pub fn fits(&self, chain: &Chain) -> bool {
        let last = usize::try_from(self.count).ok().and_then(|count| count.checked_sub(1));
        last.and_then(|last| chain.hashes.get(last)) == Some(&self.head)
    }

    /// Whether it comes after all records of this journal.
    pub fn is_beyond(&self, chain: &Chain) -> bool {
        self.count > chain.hashes.len() as u64
    }
}

/// What a signature of a head vouches for: its signed comment says it, and is what was signed.
///
/// # Errors
/// In words that continue "the signature ...".
pub(super) fn vouched(
    key: &PublicKey,
    format: u32,
    signature: &str,
) -> std::result::Result<Vouched, String> {
    let comment = signature.lines().nth(2).unwrap_or_default();
    let text = comment.strip_prefix("trusted comment: ").unwrap_or_default().trim();
    let words: Vec<&str> = text.split(' ').collect();
    let (count, head) = match words[..] {
        [_, _, _, count, _, head] => (count.parse().unwrap_or(0), head.to_owned()),
        _ => (0, String::new()),
    };
    if head_text(format, count, &head) != text {
        return Err("is of no head of a journal of this format".into());
    }
    key.verify(Statement::Journal, text.as_bytes(), signature)?;
    Ok(Vouched { count, head })
}
