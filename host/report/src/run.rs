//! One run: all that its folder says.

use std::path::Path;

use host_audit::journal::ReasonCount;
use host_eval::evaluation::Evaluation;
use host_eval::measure::{Rate, RefusalDetector};
use host_eval::report::Report;
use host_files::shell;
use host_html::chart::Dots;
use host_html::{Chart, Shown, shown};
use host_trainer::RunConfig;
use host_trainer::calibration::CalibrationFile;
use host_trainer::config::Layers;
use host_trainer::manifest::Manifest;
use serde::Serialize;

use crate::Options;
use crate::answers::Answers;
use crate::calibration::Calibration;
use crate::curves::{self, Steps, Trained};
use crate::journal::{self, Verdict};
use crate::made_of::{self, Part};
use crate::part::Problems;
use crate::rows::Risks;
use crate::shares::{self, PLAIN, POLICY};

/// Bytes of config.toml, and characters of it that are shown.
const CONFIG: (u64, usize) = (4 << 20, 40_000);
/// Notices that are shown.
const NOTICES: usize = 50;
/// Files of calibrations that are looked for.
const CALIBRATIONS: usize = 16;

/// A run as a report has it. What its folder lacks is absent.
#[derive(Debug, Serialize)]
pub struct Run {
    /// The folder, as it was named.
    pub folder: String,
    /// Its last part.
    pub name: String,
    /// running, finished, interrupted, stopped or failed.
    pub status: String,
    /// What happened, in sentences.
    pub summary: Vec<String>,
    /// What could not be read, and why.
    pub problems: Vec<String>,
    /// What a person must know before believing in the result.
    pub warnings: Vec<String>,
    /// What a person was told of files and settings.
    pub notices: Vec<String>,
    /// One column per model: the first row has their names.
    pub figures: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shares: Option<Dots>,
    /// Curves over the steps.
    pub curves: Vec<Chart>,
    /// What a reader must know of them.
    pub curves_note: Option<String>,
    pub(crate) risks: Option<Risks>,
    /// Reasons that policies gave.
    pub reasons: Vec<ReasonCount>,
    /// Kinds of reasons beyond those.
    pub more_reasons: usize,
    /// Assessments in place of which a policy failed.
    pub faults: u64,
    pub(crate) calibrations: Vec<Calibration>,
    pub(crate) answers: Option<Answers>,
    pub(crate) journal: Option<Verdict>,
    pub(crate) made_of: Vec<Part>,
    /// config.toml.
    pub config: Option<Shown>,
}

/// The table of a run's models.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// The first row has the models' names.
    pub rows: Vec<Vec<String>>,
    /// What is said below.
    pub notes: Vec<String>,
    /// Colours of the columns behind the first.
    #[serde(skip)]
    pub(crate) colours: Vec<usize>,
}

impl Run {
    /// Reads what is there.
    pub fn read(folder: &Path, options: &Options) -> Self {
        let mut problems = Problems::default();
        let manifest: Option<Manifest> = problems.json(folder, "manifest.json");
        let report: Option<Report> = problems.json(folder, "report.json");
        let text = problems.text(folder, "config.toml", CONFIG.0);
        let config = resolved(folder, &mut problems);
        let steps = Steps::read(folder, curves::FILE, &mut problems);
        let plain = Steps::read(folder, "baseline/metrics.jsonl", &mut problems);
        let status = manifest.as_ref().map_or("running", |manifest| &manifest.status).to_owned();
        let ended = status != "running";
        let policies = manifest.iter().flat_map(|manifest| &manifest.policies);
        let policies: Vec<String> =
            policies.map(|policy| format!("{} {:.8}", policy.name, policy.sha256)).collect();
        let own = match (&report, &policies[..]) {
            (Some(report), _) if report.policy.is_some() => {
                report.policy.clone().unwrap_or_default()
            }
            (_, []) => "fine-tuned".to_owned(),
            (_, names) => names.join(" + "),
        };
        let colour = if policies.is_empty() { PLAIN } else { POLICY };
        let trained = Trained { name: &own, colour, steps: &steps };
        let baseline = Trained { name: "plain fine-tuning", colour: PLAIN, steps: &plain };
        let curves = curves::of_run(&trained, (plain.len() > 0).then_some(&baseline));
        let read = journal::read(folder, options.key.as_ref(), ended, options.glance);
        let read = read.unwrap_or_else(|why| {
            problems.add(why);
            None
        });
        let risks = read.as_ref().and_then(|read| Risks::of(&read.journal, config.as_ref()));
        let refusals = config
            .as_ref()
            .map_or_else(RefusalDetector::default, |config| config.eval.refusal_detector());
        let name_of = |model: &str| match model {
            "plain" => "plain fine-tuning".to_owned(),
            "after" => own.clone(),
            other => other.to_owned(),
        };
        let answers = Answers::read(folder, &refusals, name_of, &mut problems);
        let calibrations = calibrations(folder, &mut problems);
        let (mut verdict, mut reasons, mut more_reasons, mut faults) = (None, Vec::new(), 0, 0);
        if let Some(read) = read {
            (verdict, reasons) = (Some(read.verdict), read.reasons);
            (more_reasons, faults) = (read.more_reasons, read.faults);
        }
        let figures = report.as_ref().map(|report| {
            let (rows, notes) = report.rows();
            let colours = shares::models(report).into_iter().map(|(_, colour, _)| colour).collect();
            Figures { rows, notes, colours }
        });
        let mut warnings: Vec<String> = report.iter().flat_map(Report::warnings).collect();
        warnings.extend(report.as_ref().and_then(Report::failure));
        Self {
            folder: folder.display().to_string(),
            name: name(folder),
            summary: summary(folder, &status, manifest.as_ref(), report.as_ref(), steps.len()),
            status,
            warnings,
            notices: notices(manifest.as_ref(), report.as_ref()),
            shares: report.as_ref().and_then(shares::of),
            figures,
            curves_note: curves::note([&steps, &plain]),
            curves,
            risks,
            reasons,
            more_reasons,
            faults,
            calibrations,
            answers,
            journal: verdict,
            made_of: manifest.as_ref().map(made_of::of).unwrap_or_default(),
            config: text.map(|text| shown(&text, CONFIG.1)),
            problems: problems.into_lines(),
        }
    }
}

impl Run {
    /// The folder of a run, and what happened: for a list.
    pub fn outline(folder: &Path) -> (String, Vec<String>) {
        let mut problems = Problems::default();
        let manifest: Option<Manifest> = problems.json(folder, "manifest.json");
        let report: Option<Report> = problems.json(folder, "report.json");
        let status = manifest.as_ref().map_or("running", |manifest| &manifest.status).to_owned();
        let steps = report
            .as_ref()
            .map_or_else(|| Steps::read(folder, curves::FILE, &mut problems).len(), |_| 0);
        let mut said = summary(folder, &status, manifest.as_ref(), report.as_ref(), steps);
        said.extend(problems.into_lines());
        (folder.display().to_string(), said)
    }
}

/// The last part of a folder's name, also where it was named by dots.
pub fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.into());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| folder.display().to_string())
}

fn resolved(folder: &Path, problems: &mut Problems) -> Option<RunConfig> {
    let mut layers = Layers::default();
    let config = layers.add_file(&folder.join("config.toml")).and_then(|()| layers.resolve());
    config.map_err(|error| problems.add(error.to_string())).ok()
}

fn calibrations(folder: &Path, problems: &mut Problems) -> Vec<Calibration> {
    let files = (0..CALIBRATIONS).map(CalibrationFile::name).filter_map(|name| {
        let file: CalibrationFile = problems.json(folder, &name)?;
        Some(Calibration::of(&file, &name))
    });
    files.collect()
}

fn notices(manifest: Option<&Manifest>, report: Option<&Report>) -> Vec<String> {
    let mut notices: Vec<String> =
        manifest.map(|manifest| manifest.notices.clone()).unwrap_or_default();
    for line in report.iter().flat_map(|report| report.notices.lines()) {
        if !notices.contains(&line) {
            notices.push(line);
        }
    }
    if notices.len() > NOTICES {
        let more = notices.len() - NOTICES;
        notices.truncate(NOTICES);
        notices.push(format!("and {more} more in manifest.json and report.json"));
    }
    notices
}

/// What happened: how it ended, and the reference against what came of it.
fn summary(
    folder: &Path,
    status: &str,
    manifest: Option<&Manifest>,
    report: Option<&Report>,
    steps: usize,
) -> Vec<String> {
    let planned = manifest.map(|manifest| manifest.steps);
    let trained = report.and_then(|report| report.trained.as_ref().or(report.baseline.as_ref()));
    let done = trained.map_or(steps as u64, |trained| trained.totals.steps);
    let of_planned = planned.map_or_else(String::new, |planned| format!(" of {planned}"));
    let policies: Vec<String> = manifest
        .iter()
        .flat_map(|manifest| &manifest.policies)
        .map(|one| format!("{} {} (sha256 {:.12})", one.name, one.version, one.sha256))
        .collect();
    let under = match &policies[..] {
        [] => "without a policy".to_owned(),
        [one] => format!("under the policy {one}"),
        several => format!("under the policies {}", several.join(", ")),
    };
    let resume = format!("host train --resume {}", shell::path(folder));
    let steps = format!("{done}{of_planned} optimizer steps {under}");
    let error =
        manifest.and_then(|manifest| manifest.error.as_deref()).unwrap_or("no reason is recorded");
    let ending = match status {
        "finished" => format!("Finished: {steps}."),
        "early-stop" => format!("Ended early, as evaluations brought no improvement: {steps}."),
        "stopped" => format!("Stopped by its policy: {steps}."),
        "interrupted" => format!("Interrupted: {steps}; it goes on with {resume}."),
        "failed" => format!("Failed: {error} ({steps})."),
        _ => format!(
            "Not ended: {steps} so far. If nothing is working on it, it goes on with {resume}."
        ),
    };
    let mut sentences = vec![ending];
    sentences.extend(report.and_then(outcome));
    sentences
}

/// The reference against what came of it, in words.
fn outcome(report: &Report) -> Option<String> {
    let rate = |evaluation: Option<&Evaluation>, of: fn(&Evaluation) -> Option<Rate>| {
        let share = of(evaluation?)?.value()?;
        Some(format!("{:.1}%", 100.0 * share))
    };
    let told = |what: &str, of: fn(&Evaluation) -> Option<Rate>| {
        let (before, after) = (rate(report.before.as_ref(), of), rate(report.after.as_ref(), of)?);
        let plain = rate(report.baseline_after.as_ref(), of);
        let from = before.map_or_else(String::new, |before| format!("{before} before and "));
        let plain =
            plain.map_or_else(String::new, |plain| format!(", {plain} after plain fine-tuning"));
        Some(format!("{what}: {from}{after} after{plain}."))
    };
    let refused = told("Harmful requests refused", |one| one.refusal);
    let tasks: [fn(&Evaluation) -> Option<Rate>; 3] =
        [|one| one.exact_match, |one| one.number_match, |one| one.choice_accuracy];
    let task = tasks.into_iter().find_map(|of| told("Task answered right", of));
    let said: Vec<String> = refused.into_iter().chain(task).collect();
    (!said.is_empty()).then(|| said.join(" "))
}
