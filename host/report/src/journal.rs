//! Whether the journal of a run is whole, as far as that can be told without asking a policy again.

use std::path::Path;

use host_audit::journal::{Finding, Journal, ReasonCount};
use host_files::shell;
use host_sandbox::PublicKey;
use host_trainer::evidence;
use serde::Serialize;

/// Bytes of records.jsonl that are read: a report keeps them in memory.
const RECORDS: u64 = 512 << 20;
/// The same while the run goes on.
const GLANCE: u64 = 32 << 20;
/// Findings, and kinds of reasons, that are shown.
const SHOWN: (usize, usize) = (20, 100);

/// What was found.
#[derive(Debug, Serialize)]
pub struct Verdict {
    pub state: State,
    /// The state in one line.
    pub words: String,
    pub records: u64,
    /// SHA-256 of the last record.
    pub head: String,
    /// Who signed it, and what that shows.
    pub signature: String,
    /// What the run left, as its owner signed it.
    pub result: Option<String>,
    /// What is wrong.
    pub findings: Vec<String>,
    /// How to have the policies asked again.
    pub replay: String,
}

/// Of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Chain, count and signature fit.
    Whole,
    /// The run has not ended, so the last records may not be signed yet.
    Open,
    /// Something doesn't fit.
    Broken,
}

/// A journal with what was found.
pub struct Read {
    pub journal: Journal,
    pub verdict: Verdict,
    pub reasons: Vec<ReasonCount>,
    /// Kinds of reasons beyond those.
    pub more_reasons: usize,
    pub faults: u64,
}

/// The journal of a run, if there is one.
///
/// # Errors
/// Why it is left out, in words.
pub fn read(
    run: &Path,
    key: Option<&PublicKey>,
    ended: bool,
    glance: bool,
) -> Result<Option<Read>, String> {
    let folder = run.join("journal");
    if !folder.is_dir() {
        return Ok(None);
    }
    let most = if glance { GLANCE } else { RECORDS };
    let bytes = folder.join("records.jsonl").metadata().map_or(0, |found| found.len());
    if bytes > most {
        return Err(format!(
            "the journal has more than {} MiB, so risks by row and its verdict are left out here; {}",
            most >> 20,
            if glance {
                "host report RUN has them once the run has ended".into()
            } else {
                command(run)
            }
        ));
    }
    let journal = Journal::read(&folder, key).map_err(|error| error.to_string())?;
    let evidence = (ended && !glance).then(|| evidence::check(Some(run), &journal));
    let own = journal.verified.findings.iter().map(Finding::to_string);
    let of_result = evidence.iter().flat_map(|evidence| evidence.findings.iter().cloned());
    let mut findings: Vec<String> = own.chain(of_result).collect();
    let state = match (findings.is_empty(), ended) {
        (_, false) => State::Open,
        (true, true) => State::Whole,
        (false, true) => State::Broken,
    };
    let words = match state {
        State::Whole => {
            "Whole: every record follows the one before, and the last is the signed one."
        }
        State::Open => {
            "The run has not ended: what is there is listed below, and the last records may not be signed yet."
        }
        State::Broken => "BROKEN: don't rely on this run.",
    };
    let result = evidence.and_then(|evidence| match (&evidence.not_shown, &evidence.ended) {
        _ if !evidence.findings.is_empty() => Some("not what the run left".into()),
        (Some(why), _) => Some(format!("not shown: {why}")),
        (None, Some(_)) => evidence.left(),
        (None, None) => None,
    });
    if findings.len() > SHOWN.0 {
        let more = findings.len() - SHOWN.0;
        findings.truncate(SHOWN.0);
        findings.push(format!("and {more} more"));
    }
    let verified = &journal.verified;
    let mut reasons = journal.reasons();
    let more_reasons = reasons.len().saturating_sub(SHOWN.1);
    reasons.truncate(SHOWN.1);
    let verdict = Verdict {
        state,
        words: words.into(),
        records: verified.records,
        head: verified.head.clone(),
        signature: verified.signature(),
        result,
        findings,
        replay: command(run),
    };
    let faults = journal.faults();
    Ok(Some(Read { journal, verdict, reasons, more_reasons, faults }))
}

fn command(run: &Path) -> String {
    format!("host audit --run {}", shell::path(run))
}
