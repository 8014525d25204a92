//! Whether what lies in the folder of a run is what the run left, as its owner signed it.

mod evaluations;

use std::path::Path;

use host_audit::journal::{Entry, Identity, Journal, Summary};
use host_audit::seal::{self, JournalHead, Seal, names, notary};
use host_contract::Action;
use host_files::{own, sha256};
use host_sandbox::Statement;
use serde::Serialize;
use serde_json::Value;

use crate::config::Layers;
use crate::error::{Error, Result};
use crate::program;
use crate::session::manifest;
use crate::session::stages::{FILE, Stages};

/// Most bytes of metrics.jsonl and of report.json that are compared with the journal.
const FILE_BYTES: u64 = 1 << 30;
/// Folders in which whoever takes the result takes everything.
const TAKEN_WHOLE: [&str; 5] =
    ["adapter/", "adapter-last/", "baseline/adapter/", "baseline/adapter-last/", "steering/"];
/// Part of the identity of runs of a trainer of Python, and the file that it is the digest of.
const OF_PYTHON: (&str, &str) = ("trainer", "trainer.json");
const ADAPTER: &str = "adapter/adapter_model.safetensors";

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Evidence {
    /// Files that are what the run left.
    pub files: Vec<String>,
    /// How the run ended, in the words of its owner.
    pub ended: Option<String>,
    /// What of it is among the files.
    #[serde(skip)]
    holds: &'static str,
    /// What doesn't fit.
    pub findings: Vec<String>,
    /// Why the result is not shown to be that of the run, if nothing is wrong.
    pub not_shown: Option<String>,
}

/// Compares the folder of a run with its journal and with what was signed. `run` is absent where
/// only the journal is at hand.
pub fn check(run: Option<&Path>, journal: &Journal) -> Evidence {
    let mut evidence = Evidence::default();
    let not_shown = match run {
        _ if journal.run.identity.is_none() => Some(
            "the journal is of an earlier version, which named neither the configuration nor \
             what the run left",
        ),
        None => Some("only the journal was named, not the folder of its run"),
        Some(run) => evidence.read(run, journal),
    };
    evidence.not_shown = not_shown.map(str::to_owned);
    evidence
}

/// What the owner signed of a run as a whole: the bytes of which others can say when they saw them.
///
/// # Errors
/// A folder without it, as that of a run without policies.
pub fn signed(run: &Path) -> Result<Vec<u8>> {
    let paths = [run.join(FILE), run.join(seal::FILE)];
    let path = paths.iter().find(|path| path.symlink_metadata().is_ok()).unwrap_or(&paths[0]);
    own::read(path, notary::FILE_BYTES).map_err(|source| Error::read(path, source))
}

/// What made a run, as its journal's identity tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    /// `host train`.
    Host,
    /// A trainer of the Python package.
    Trainer,
    /// Any other training loop with a journal.
    Loop,
}

impl Maker {
    fn of(identity: &Identity) -> Self {
        match &identity.parts {
            parts if parts.contains_key(program::PART) => Self::Host,
            parts if parts.contains_key(OF_PYTHON.0) => Self::Trainer,
            _ => Self::Loop,
        }
    }

    /// The file that names what the run left.
    fn seal(self) -> &'static str {
        if self == Self::Host { FILE } else { seal::FILE }
    }

    /// Whether a run that ended so has one.
    fn leaves_adapter(self, ended: &str) -> bool {
        match self {
            Self::Host => true,
            Self::Trainer => ["finished", "stopped", "early-stop"].contains(&ended),
            Self::Loop => false,
        }
    }

    fn leaves(self) -> &'static str {
        match self {
            Self::Host => "adapter, configuration, metrics and report",
            Self::Trainer => "adapter, arguments and metrics",
            Self::Loop => "the files beside the journal",
        }
    }
}

impl Evidence {
    /// That the files are those which the run left, for evidence without findings.
    pub fn left(&self) -> Option<String> {
        let ended = self.ended.as_ref()?;
        Some(format!(
            "the run {ended}; {} are those it left ({} files)",
            self.holds,
            self.files.len()
        ))
    }

    fn find(&mut self, problem: impl Into<String>) {
        self.findings.push(problem.into());
    }

    /// Says why nothing is shown, if something is missing rather than wrong.
    fn read(&mut self, run: &Path, journal: &Journal) -> Option<&'static str> {
        let identity = journal.run.identity.clone().unwrap_or_default();
        let by = Maker::of(&identity);
        self.holds = by.leaves();
        let (file, key) = (by.seal(), journal.key.as_ref());
        let path = run.join(file);
        if by != Maker::Host && path.symlink_metadata().is_err() {
            return Some(
                "the journal is of a training in Python that signed nothing beside it: it didn't \
                 come to its end, or makes no seal.json",
            );
        }
        let found = match by {
            Maker::Host => {
                notary::read(&path, Statement::Run, key).map(|stages: Stages| stages.seal)
            }
            _ => notary::read(&path, Statement::Run, key).map(Some),
        };
        let seal = match found {
            Ok(Some(seal)) => seal,
            Ok(None) => {
                self.find(format!("{file} does not name what the run left"));
                return None;
            }
            Err(problem) => {
                self.find(format!("{file}, which names what the run left, {problem}"));
                return None;
            }
        };
        if seal.identity != identity {
            self.find(format!("{file} and the journal are of different runs"));
            return None;
        }
        self.files(run, &seal, file);
        self.ended.clone_from(&seal.ended);
        let Some(ended) = &seal.ended else {
            return Some("the run did not come to its end; go on with it by host train --resume");
        };
        let stands =
            JournalHead { records: journal.verified.records, head: journal.verified.head.clone() };
        match &seal.journal {
            Some(left) if *left == stands => {}
            Some(left) => self.find(format!(
                "the run left a journal of {} records, and this is another one, of {}",
                left.records, stands.records
            )),
            None => self.find(format!("{file} names no journal")),
        }
        let ending = journal.entries.iter().rev().find_map(|entry| match entry {
            Entry::End { ending, .. } => Some(ending.as_str()),
            _ => None,
        });
        if ending == Some("failed") {
            if ended == "finished" {
                self.find("the run finished, and its journal says that it failed");
            }
        } else if by.leaves_adapter(ended) && !seal.files.contains_key(ADAPTER) {
            self.find(format!("{file} names no adapter"));
        }
        let ending = ending.unwrap_or_default();
        match by {
            _ if !self.findings.is_empty() => {}
            Maker::Host => self.contents(run, &seal, journal, ending),
            Maker::Trainer => self.of_python(run, &seal, journal, ending),
            Maker::Loop => {}
        }
        None
    }

    /// Each file that was signed must be there as it was, and no other one among those of an
    /// adapter.
    fn files(&mut self, run: &Path, seal: &Seal, file: &str) {
        for (name, content) in &seal.files {
            let path = run.join(name);
            // A name leads nowhere else, not even through a link to a folder.
            let inside = !Path::new(name).is_absolute()
                && !name.split('/').any(|part| part == "..")
                && Path::new(name).ancestors().all(|part| !run.join(part).is_symlink());
            let same = if seal.ended.is_some() { content.is(&path) } else { content.begins(&path) };
            if inside && same {
                self.files.push(name.clone());
            } else if path.symlink_metadata().is_err() {
                self.find(format!("{name} is missing"));
            } else {
                self.find(format!("{name} is not what the run left"));
            }
        }
        for name in names(run, file).unwrap_or_default() {
            let taken = TAKEN_WHOLE.iter().any(|folder| name.starts_with(folder));
            if taken && seal.ended.is_some() && !seal.files.contains_key(&name) {
                self.find(format!("{} is not of the run", host_files::text::brief(&name, 200)));
            }
        }
    }

    /// What is signed must also agree with itself: whoever has the key can sign anything.
    fn contents(&mut self, run: &Path, seal: &Seal, journal: &Journal, ending: &str) {
        let mut layers = Layers::default();
        let config = layers.add_file(&run.join("config.toml")).and_then(|()| layers.resolve());
        match config
            .as_ref()
            .map_err(ToString::to_string)
            .and_then(|config| manifest::settled(config).map_err(|error| error.to_string()))
        {
            Ok(settled) if Some(&settled) == seal.identity.parts.get("config") => {}
            Ok(_) => self.find("config.toml is not the configuration that the journal names"),
            Err(error) => self.find(format!("config.toml can't be read ({error})")),
        }
        match lines(&run.join("metrics.jsonl")) {
            Ok(lines) => self.metrics(&lines, &journal.decided(), ending),
            Err(problem) => self.find(format!("metrics.jsonl {problem}")),
        }
        if let Ok(text) = own::read_text(&run.join("report.json"), FILE_BYTES) {
            let report: Value = serde_json::from_str(&text).unwrap_or_default();
            let said = (&report["trained"]["steps"], &report["trained"]["ending"]);
            if said != (&Value::from(journal.steps()), &Value::from(ending)) {
                self.find("report.json has another number of steps or ending than the journal");
            }
            if let Ok(config) = &config {
                self.evaluations(run, config, seal, &report["trained"]);
            }
        } else if seal.files.contains_key("report.json") {
            self.find("report.json can't be read");
        }
    }

    /// As [`Evidence::contents`], of a trainer of Python.
    fn of_python(&mut self, run: &Path, seal: &Seal, journal: &Journal, ending: &str) {
        let (part, file) = OF_PYTHON;
        match own::read(&run.join(file), FILE_BYTES) {
            Ok(bytes) if Some(&sha256::hex(&bytes)) == seal.identity.parts.get(part) => {}
            Ok(_) => self.find(format!("{file} is not what the journal names")),
            Err(error) => self.find(format!("{file} can't be read ({error})")),
        }
        match lines(&run.join("metrics.jsonl")) {
            Ok(lines) => self.metrics(&lines, &journal.decided(), ending),
            Err(problem) => self.find(format!("metrics.jsonl {problem}")),
        }
    }

    /// The metrics of a step repeat what the policies asked for there.
    fn metrics(&mut self, lines: &[Value], decided: &[(u64, Option<Summary>)], ending: &str) {
        // A step that failed or was cut off has records and no metrics.
        let steps = decided.len();
        let cut_off = ["failed", "interrupted"].contains(&ending);
        if lines.len() != steps && !(cut_off && lines.len() + 1 == steps) {
            self.find(format!("metrics.jsonl has {} steps, and the journal {steps}", lines.len()));
            return;
        }
        for (line, (step, summary)) in lines.iter().zip(decided) {
            let same = summary.as_ref().is_some_and(|summary| {
                let number = |key: &str, value: f64| line[key].as_f64() == Some(value);
                let action =
                    (summary.action != Action::Update).then(|| Value::from(summary.action.name()));
                line["step"].as_u64() == Some(*step)
                    && number("risk", summary.risk)
                    && number("max_risk", summary.highest_risk)
                    && number("task_weight", summary.task_weight)
                    && number("kl_weight", summary.kl_weight)
                    && line.get("action").cloned() == action
            });
            if !same {
                self.find(format!("metrics.jsonl, step {step}: is not what the journal says"));
                return;
            }
        }
    }
}

fn lines(path: &Path) -> Result<Vec<Value>, String> {
    let text =
        own::read_text(path, FILE_BYTES).map_err(|error| format!("can't be read ({error})"))?;
    let lines = text.lines().enumerate();
    let lines = lines.map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))
    });
    lines.collect()
}
