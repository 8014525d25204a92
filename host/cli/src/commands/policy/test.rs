//! Recorded cases, run again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use host_audit::cases::{self, Case, CaseError, Differs, TOLERANCE, pretty, settled};
use host_files::Page;
use host_sandbox::{Limits, Policy};
use host_trainer::Error;
use host_trainer::records::Ending;
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use super::project::Project;
use crate::commands::registry::{RegistryFlags, named};
use crate::exit::Failed;
use crate::out::print;

/// Run a policy's recorded cases.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Policy file, or the folder of a policy's project; oci://REGISTRY/NAME:TAG with CASES.
    #[arg(value_name = "POLICY.wasm|DIR", default_value = ".")]
    pub policy: PathBuf,
    #[command(flatten)]
    pub registry: RegistryFlags,
    /// Folder with the cases. Default: `cases` in the project.
    #[arg(value_name = "CASES")]
    pub cases: Option<PathBuf>,
    /// Write what the policy answers into the cases, where it differs from what they
    /// expect.
    #[arg(long)]
    pub record: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Lines shown around a difference.
const CONTEXT: usize = 2;

#[derive(Debug, Serialize)]
struct Report {
    policy: String,
    sha256: String,
    passed: bool,
    cases: Vec<Row>,
    coverage: Coverage,
}

/// One case.
#[derive(Debug, Serialize)]
struct Row {
    case: String,
    about: String,
    outcome: Outcome,
    /// Where the answer first differs, such as `.assessment.risk[1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// From the expected answer to the one that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    /// A fault, where there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Passed,
    Differs,
    Fault,
    Recorded,
}

/// What the answers of all cases contain.
#[derive(Debug, Default, Serialize)]
struct Coverage {
    /// Answers by kind: needs, calibration, assessment, error.
    answers: BTreeMap<String, usize>,
    /// Reason codes of assessments, each with the number of cases that show it.
    reasons: BTreeMap<String, usize>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let limits = Limits::default();
    let project = match named(&arguments.policy) {
        Some(_) if arguments.cases.is_none() => {
            let problem = "has no cases in its registry; name the folder with them as well";
            return Err(Error::file(&arguments.policy, problem).into());
        }
        Some(_) => Project {
            policy: arguments.registry.pin(&arguments.policy, &limits)?,
            folder: PathBuf::new(),
        },
        None => Project::find(&arguments.policy)?,
    };
    let policy = Policy::load(&arguments.registry.engine(&limits)?, &project.policy);
    let policy = policy.map_err(Error::from)?;
    let paths = match &arguments.cases {
        Some(folder) => cases::files(folder),
        None => cases::paths(&project.folder),
    };
    let paths = paths.map_err(case_error)?;
    if paths.is_empty() {
        let folder = arguments.cases.clone();
        let folder = folder.unwrap_or_else(|| project.folder.join("cases"));
        anyhow::bail!("{}: there are no cases (*.json) here", folder.display());
    }
    let mut coverage = Coverage::default();
    let mut rows = Vec::new();
    for path in &paths {
        rows.push(one(path, &policy, arguments.record, &mut coverage)?);
    }
    let report = Report {
        policy: policy.path().to_owned(),
        sha256: policy.digest().to_owned(),
        passed: rows.iter().all(|row| matches!(row.outcome, Outcome::Passed | Outcome::Recorded)),
        cases: rows,
        coverage,
    };
    print(arguments.json, &report, |_| report.text())?;
    if report.passed { Ok(Ending::Finished) } else { Err(Failed::Cases(report.failure()).into()) }
}

/// A fault ends a run with exit code 3, and a command that asks a single case too.
pub fn case_error(error: CaseError) -> anyhow::Error {
    match error {
        CaseError::Policy(error) => Error::from(error).into(),
        other => other.into(),
    }
}

fn one(path: &Path, policy: &Policy, record: bool, coverage: &mut Coverage) -> anyhow::Result<Row> {
    let mut case = Case::read(path).map_err(case_error)?;
    let mut row = Row {
        case: path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        about: host_files::text::clean(&case.about, 200),
        outcome: Outcome::Passed,
        at: None,
        diff: None,
        fault: None,
    };
    let answer = match case.answer(policy) {
        Ok(answer) => answer,
        Err(CaseError::Policy(fault)) => {
            row.outcome = Outcome::Fault;
            row.fault = Some(fault.to_string());
            return Ok(row);
        }
        Err(error) => return Err(anyhow::anyhow!("{}: {error}", path.display())),
    };
    coverage.add(&answer);
    let Err(difference) = case.compare(&answer, TOLERANCE) else {
        return Ok(row);
    };
    if record {
        case.expected = answer;
        let text = case.to_json().map_err(case_error)?;
        host_files::atomic::write(path, text.as_bytes())
            .map_err(host_model::Error::from)
            .map_err(Error::from)?;
        row.outcome = Outcome::Recorded;
        return Ok(row);
    }
    row.outcome = Outcome::Differs;
    if let CaseError::Differs(Differs { at, .. }) = difference {
        row.at = Some(at);
    }
    row.diff = Some(diff(&case.expected, &answer));
    Ok(row)
}

/// Of what is meant, not of how numbers are rounded.
fn diff(expected: &Value, answer: &Value) -> String {
    let (old, new) = (pretty(expected), pretty(&settled(expected, answer, TOLERANCE)));
    TextDiff::from_lines(&old, &new)
        .unified_diff()
        .context_radius(CONTEXT)
        .header("expected", "answered")
        .to_string()
}

impl Coverage {
    fn add(&mut self, answer: &Value) {
        let Some(fields) = answer.as_object() else {
            return;
        };
        for (kind, value) in fields {
            // A calibration is followed by an assessment with what it fitted.
            if kind == "then" {
                self.add(value);
                continue;
            }
            *self.answers.entry(kind.clone()).or_default() += 1;
            let reasons = value["reasons"].as_array().into_iter().flatten();
            let codes = reasons.filter_map(|reason| reason["code"].as_str());
            let codes: std::collections::BTreeSet<&str> = codes.collect();
            for code in codes {
                *self.reasons.entry(code.to_owned()).or_default() += 1;
            }
        }
    }

    fn lines(&self) -> [String; 2] {
        let list = |counts: &BTreeMap<String, usize>| {
            let parts = counts.iter().map(|(name, count)| format!("{name} {count}"));
            parts.collect::<Vec<_>>().join(", ")
        };
        let mut missing: Vec<&str> = ["needs", "assessment", "error"].into();
        missing.retain(|kind| !self.answers.contains_key(*kind));
        let mut text = format!("answers: {}", list(&self.answers));
        if !missing.is_empty() {
            text.push_str(&format!(" (no case shows: {})", missing.join(", ")));
        }
        let reasons = match self.reasons.len() {
            0 => "none in any case".to_owned(),
            _ => list(&self.reasons),
        };
        [text, format!("reasons: {reasons}")]
    }
}

impl Report {
    fn text(&self) -> Page {
        let mut page = Page::default();
        for row in &self.cases {
            let word = match row.outcome {
                Outcome::Passed => "ok",
                Outcome::Differs => "DIFFERS",
                Outcome::Fault => "FAULT",
                Outcome::Recorded => "recorded",
            };
            page.line(format!("{word:<9}{}: {}", row.case, row.about));
            if let Some(at) = &row.at {
                page.line(format!("  first at {at}"));
            }
            let more = row.diff.iter().chain(&row.fault);
            page.lines(more.flat_map(|text| text.lines()).map(|line| format!("  {line}")));
        }
        let [answers, reasons] = self.coverage.lines();
        page.line(format!("{} cases; {answers}", self.cases.len()));
        page.line(reasons);
        page
    }

    fn failure(&self) -> String {
        let failed = self.cases.iter();
        let failed = failed.filter(|row| matches!(row.outcome, Outcome::Differs | Outcome::Fault));
        let failed: Vec<&str> = failed.map(|row| row.case.as_str()).collect();
        format!(
            "{} of {} cases of {} are not met: {}; fix the policy, or accept what \
             it answers with --record",
            failed.len(),
            self.cases.len(),
            self.policy,
            failed.join(", ")
        )
    }
}
