//! What a run leaves on the disk.

use std::{fs, path::Path};

use host_audit::journal::{Answer, Entry, Journal};
use host_sandbox::{Engine, Error as PolicyError};
use serde_json::Value;

use crate::error::{Error, Result};

/// What a run left, besides its policy, the keys and the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftovers {
    Nothing,
    Run {
        /// As the manifest says it.
        status: String,
        /// Lines of metrics.jsonl: updates that were made or skipped.
        steps: u64,
        adapter: bool,
        journal: Box<Journalled>,
    },
    /// What should not be there, by name.
    Strays(Vec<String>),
}

/// What the journal of a run holds, or why it can't be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journalled {
    /// Chain, count, signature and order, and whatever the replay finds.
    pub problems: Vec<String>,
    pub answers: Vec<Answered>,
    /// How the run ended, as the last record says it.
    pub ending: Option<String>,
    /// The policy answered each recorded question the same again.
    pub replays: bool,
}

/// One assessment of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    Assessment,
    /// A fault for which the strictest assessment stood in.
    StandIn,
    /// A fault that ended the run.
    Fault,
}

impl Leftovers {
    pub(crate) fn find(folder: &Path, policy: &str) -> Result<Self> {
        let mut strays = names(folder)?;
        strays.retain(|name| ![policy, "home", "tmp", "run"].contains(&name.as_str()));
        strays.extend(names(&folder.join("tmp"))?);
        let cache = folder.join("home/cache/host/policies");
        if cache.is_dir() {
            let whole = |name: &String| name.ends_with(".policy");
            strays.extend(names(&cache)?.into_iter().filter(|name| !whole(name)));
        }
        if !strays.is_empty() {
            return Ok(Self::Strays(strays));
        }
        let run = folder.join("run");
        if run.exists() { Self::run(&run) } else { Ok(Self::Nothing) }
    }

    fn run(run: &Path) -> Result<Self> {
        let manifest = run.join("manifest.json");
        let text = fs::read_to_string(&manifest).map_err(Error::file(&manifest))?;
        let manifest: Value = serde_json::from_str(&text)
            .map_err(|e| Error::policy(&manifest.display().to_string(), e.to_string()))?;
        let metrics = run.join("metrics.jsonl");
        let metrics = fs::read_to_string(&metrics).map_err(Error::file(&metrics))?;
        Ok(Self::Run {
            status: manifest["status"].as_str().unwrap_or_default().to_owned(),
            steps: metrics.lines().count() as u64,
            adapter: run.join("adapter").exists(),
            journal: Box::new(Journalled::read(run)),
        })
    }
}

impl Journalled {
    fn read(run: &Path) -> Self {
        match Self::audit(run) {
            Ok(journalled) => journalled,
            Err(problem) => Self {
                problems: vec![problem.to_string()],
                answers: Vec::new(),
                ending: None,
                replays: false,
            },
        }
    }

    fn audit(run: &Path) -> std::result::Result<Self, PolicyError> {
        let journal = Journal::read(&run.join("journal"), None)?;
        let engine = Engine::new(&journal.run.limits)?;
        let replay = journal.replay(&engine, || {})?;
        let mut answers = Vec::new();
        let mut ending = None;
        for entry in &journal.entries {
            match entry {
                Entry::Assessment(record) => answers.push(match &record.answer {
                    Answer::Assessment { .. } => Answered::Assessment,
                    Answer::Fault { stands_in, .. } if stands_in.is_some() => Answered::StandIn,
                    Answer::Fault { .. } => Answered::Fault,
                }),
                Entry::End { ending: how, .. } => ending = Some(how.clone()),
                _ => {}
            }
        }
        let findings = journal.verified.findings.iter().chain(&replay.findings);
        let difference = replay.first_difference.as_ref().map(ToString::to_string);
        Ok(Self {
            replays: replay.replayed == replay.assessments,
            problems: findings.map(ToString::to_string).chain(difference).collect(),
            answers,
            ending,
        })
    }
}

impl std::fmt::Display for Leftovers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Strays(names) => write!(f, "strays: {}", names.join(", ")),
            Self::Run { status, steps, adapter, journal } => {
                let adapter = if *adapter { "an adapter" } else { "no adapter" };
                let journal = match journal.problems.first() {
                    None => "the journal sealed",
                    Some(problem) => problem,
                };
                write!(f, "a run that {status} after {steps} steps, {adapter}, {journal}")
            }
        }
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let name = entry.map_err(Error::file(folder))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
