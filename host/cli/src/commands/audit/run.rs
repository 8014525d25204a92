//! `host audit --run DIR`: is the journal of a run whole, and do its policies say again
//! what it holds? With `--policy`, what would another one have said?

use std::path::{Path, PathBuf};

use host_audit::journal::{Comparison, Difference, Finding, Journal, Replay, Verified};
use host_audit::timestamp::Timestamp;
use host_contract::Needs;
use host_files::Page;
use host_sandbox::{Engine, Policy, PublicKey};
use host_trainer::calibration::CalibrationFile;
use host_trainer::config::check_run;
use host_trainer::evidence::{self, Evidence};
use host_trainer::records::Ending;
use host_trainer::{Error, report};
use serde::Serialize;

use super::Arguments;
use crate::exit::Failed;
use crate::out::{print, say};

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    journal: PathBuf,
    passed: bool,
    verdict: &'static str,
    /// What keeps it from passing though nothing is wrong.
    not_shown: Vec<String>,
    #[serde(flatten)]
    verified: &'a Verified,
    mode: host_audit::journal::Mode,
    steps: u64,
    policies: Vec<PolicyReport<'a>>,
    replay: &'a Replay,
    /// The files that the run left.
    result: &'a Evidence,
    /// What an authority says of when it saw the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    /// Why what was named as such is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_if: Option<&'a Comparison>,
}

#[derive(Serialize)]
struct PolicyReport<'a> {
    name: &'a str,
    version: &'a str,
    sha256: &'a str,
    settings: &'a str,
}

pub fn audit(run: &Path, arguments: &Arguments) -> anyhow::Result<Ending> {
    let key = arguments.key.as_deref().map(PublicKey::read).transpose()?;
    let folder = journal_folder(run)?;
    let journal = Journal::read(&folder, key.as_ref())?;
    let config = arguments.config()?;
    let engine = arguments.registry.engine(&journal.limits(&config.limits)?)?;
    let engine = engine.isolated(config.trust.isolate);
    let replay = journal.replay(&engine, || {})?;
    let result = evidence::check((folder != run).then_some(run), &journal);
    let what_if = match &arguments.policy {
        Some(other) => Some(compare(&journal, run, other, arguments, &engine)?),
        None => None,
    };
    let (timestamp, no_timestamp) = match arguments.timestamp.check(run)? {
        None => (None, None),
        Some(Ok(timestamp)) => (Some(timestamp), None),
        Some(Err(problem)) => (None, Some(problem)),
    };
    let failed = no_timestamp.is_some()
        || !journal.verified.findings.is_empty()
        || !replay.findings.is_empty()
        || replay.first_difference.is_some()
        || !result.findings.is_empty();
    let not_shown = not_shown(&replay, &result);
    let verdict = match (failed, not_shown.is_empty()) {
        (true, _) => "failed",
        (false, false) => "unproven",
        (false, true) => "passed",
    };
    let report = Report {
        journal: folder,
        passed: verdict == "passed",
        verdict,
        not_shown,
        verified: &journal.verified,
        mode: journal.run.mode,
        steps: journal.steps(),
        policies: journal.run.policies.iter().map(policy_report).collect(),
        replay: &replay,
        result: &result,
        timestamp,
        no_timestamp,
        what_if: what_if.as_ref(),
    };
    print(arguments.json, &report, |width| text(&report, journal.run.run.total_steps, width))?;
    if verdict != "failed"
        && let Some(path) = arguments.timestamp.ask(run)?
    {
        say(format!("wrote {}; send it to an authority, and keep the answer", path.display()));
    }
    match verdict {
        "passed" => Ok(Ending::Finished),
        "unproven" => Err(Failed::Unproven(format!(
            "nothing is wrong with this run, but it isn't shown to be right: {}",
            report.not_shown.join("; ")
        ))
        .into()),
        _ => Err(Failed::Audit("the run does not pass; don't rely on it".into()).into()),
    }
}

/// What an audit that found nothing wrong leaves open.
fn not_shown(replay: &Replay, result: &Evidence) -> Vec<String> {
    let replayed = match (replay.assessments, replay.not_recorded) {
        (0, _) => Some("no policy was asked anything".to_owned()),
        (_, 0) => None,
        (all, lost) => Some(format!(
            "{lost} of {all} assessments can't be replayed, since the journal has no tensors for \
             them (--journal light, or beyond journal.budget_mib)"
        )),
    };
    replayed.into_iter().chain(result.not_shown.clone()).collect()
}

fn policy_report(slot: &host_audit::journal::PolicySlot) -> PolicyReport<'_> {
    PolicyReport {
        name: &slot.name,
        version: &slot.version,
        sha256: &slot.sha256,
        settings: &slot.settings,
    }
}

/// The journal in a run's folder, or the folder itself if it is one.
pub fn journal_folder(run: &Path) -> Result<PathBuf, Error> {
    let inside = run.join("journal");
    match (inside.is_dir(), run.join("records.jsonl").is_file()) {
        (true, _) => Ok(inside),
        (false, true) => Ok(run.to_owned()),
        (false, false) => {
            check_run(run)?;
            Err(Error::file(run, "has no journal; name the folder of a run that had a policy"))
        }
    }
}

fn compare(
    journal: &Journal,
    run: &Path,
    file: &Path,
    arguments: &Arguments,
    engine: &Engine,
) -> anyhow::Result<Comparison> {
    let file = arguments.registry.pin(file, engine.limits())?;
    let other = Policy::load(engine, file)?;
    let settings = arguments.subject.settings();
    let calibration = arguments.subject.calibration.as_deref();
    let calibrated = calibrated(journal, run, &other, calibration, &settings)?;
    let parts = calibrated.as_ref();
    let parts = parts.map(|(parameters, needs)| (parameters.as_slice(), needs));
    Ok(journal.compare(&other, &settings.to_string(), parts)?)
}

/// Parameters and needs of a policy that is asked about a run: from a calibration file,
/// or those of the run if the policy was in it.
pub fn calibrated(
    journal: &Journal,
    run: &Path,
    policy: &Policy,
    file: Option<&Path>,
    settings: &serde_json::Value,
) -> Result<Option<(Vec<u8>, Needs)>, Error> {
    if let Some(path) = file {
        let file = stored(path, run, policy, settings)?;
        return Ok(Some((file.parameters(path)?, file.needs)));
    }
    let mut own = journal.run.policies.iter();
    let own = own.find(|slot| slot.sha256 == policy.digest());
    own.map(|slot| Ok((journal.parameters(slot)?, slot.needs.clone()))).transpose()
}

/// A calibration must be of this policy, these settings, and the run's model.
fn stored(
    path: &Path,
    run: &Path,
    policy: &Policy,
    settings: &serde_json::Value,
) -> Result<CalibrationFile, Error> {
    let file = CalibrationFile::read(path)?;
    let model = std::fs::read_to_string(run.join("manifest.json"))
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|manifest| Some(manifest["model"]["sha256"].as_str()?.to_owned()));
    // Without a manifest beside the journal the model can't be told.
    let model = model.unwrap_or_else(|| file.model_digest.clone());
    file.check(path, policy, settings, &model)?;
    Ok(file)
}

fn text(report: &Report, total: u64, width: Option<usize>) -> Page {
    let mut page: Page = [
        format!(
            "{}: {} records, {} of {total} steps, {}",
            report.journal.display(),
            report.verified.records,
            report.steps,
            names(report)
        ),
        format!("  chain      {}", chain(report)),
        format!("  signature  {}", report.verified.signature()),
        format!("  replay     {}", replayed(report)),
        format!("  result     {}", result(report.result)),
    ]
    .into_iter()
    .collect();
    page.lines(report.timestamp.iter().map(|Timestamp { time, authority }| {
        format!(
            "  time       {authority} saw the run as it is at {time}; revocation isn't looked up"
        )
    }));
    page.lines(report.no_timestamp.iter().map(|problem| format!("  ! the timestamp {problem}")));
    let findings = report.verified.findings.iter().chain(&report.replay.findings);
    page.lines(findings.map(|finding: &Finding| format!("  ! {finding}")));
    page.lines(report.result.findings.iter().map(|finding| format!("  ! {finding}")));
    let difference = report.replay.first_difference.iter();
    page.lines(difference.map(|difference: &Difference| format!("  ! {difference}")));
    if let Some(what_if) = report.what_if {
        page.line("");
        page.line(format!(
            "what {} would have said in place of {}, from what was recorded:",
            what_if.other, what_if.recorded
        ));
        page.append(&report::what_if_table(what_if, width));
    }
    page.line(match report.verdict {
        "passed" => "passed".to_owned(),
        "unproven" => format!("UNPROVEN: {}", report.not_shown.join("; ")),
        _ => "FAILED: don't rely on this run".to_owned(),
    });
    page
}

fn names(report: &Report) -> String {
    let names = report.policies.iter();
    let names = names.map(|one| format!("{} {} ({:.12})", one.name, one.version, one.sha256));
    names.collect::<Vec<_>>().join(", ")
}

fn chain(report: &Report) -> &'static str {
    if report.verified.findings.is_empty() {
        "whole: every record follows the one before, and the last is the signed one"
    } else {
        "BROKEN"
    }
}

fn result(result: &Evidence) -> String {
    if !result.findings.is_empty() {
        return "NOT what the run left".into();
    }
    let left = result.not_shown.is_none().then(|| result.left()).flatten();
    left.unwrap_or_else(|| "not shown".into())
}

fn replayed(report: &Report) -> String {
    let replay = report.replay;
    let share = match replay.assessments {
        0 => 0.0,
        all => 100.0 * replay.replayed as f64 / all as f64,
    };
    let mut text = format!(
        "{} of {} assessments gave the same bytes ({share:.0}%), {:.2} s",
        replay.replayed,
        replay.assessments,
        replay.time.as_secs_f64()
    );
    if replay.not_recorded > 0 {
        text += &format!(
            "; {} can't be replayed, since the journal has no tensors for them",
            replay.not_recorded
        );
    }
    text
}
