//! `host audit --run DIR`: is the journal of a run whole, and do its policies say again
//! what it holds? With `--policy`, what would another one have said?

use std::path::{Path, PathBuf};

use host_audit::journal::{Comparison, Difference, Finding, Journal, Replay, Verified};
use host_contract::Needs;
use host_files::Page;
use host_sandbox::{Engine, Policy, PublicKey};
use host_trainer::calibration::CalibrationFile;
use host_trainer::records::Ending;
use host_trainer::{Error, report};
use serde::Serialize;

use super::Arguments;
use crate::commands::engine;
use crate::exit::Failed;
use crate::out::print;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    journal: PathBuf,
    passed: bool,
    #[serde(flatten)]
    verified: &'a Verified,
    mode: host_audit::journal::Mode,
    steps: u64,
    policies: Vec<PolicyReport<'a>>,
    replay: &'a Replay,
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
    let engine = engine(&arguments.limits()?)?;
    let replay = journal.replay(&engine, || {})?;
    let what_if = match &arguments.policy {
        Some(other) => Some(compare(&journal, run, other, arguments, &engine)?),
        None => None,
    };
    let passed = journal.verified.findings.is_empty()
        && replay.findings.is_empty()
        && replay.first_difference.is_none();
    let report = Report {
        journal: folder,
        passed,
        verified: &journal.verified,
        mode: journal.run.mode,
        steps: journal.steps(),
        policies: journal.run.policies.iter().map(policy_report).collect(),
        replay: &replay,
        what_if: what_if.as_ref(),
    };
    print(arguments.json, &report, || text(&report))?;
    if passed {
        Ok(Ending::Finished)
    } else {
        Err(Failed::Audit("the journal does not pass; don't rely on it".into()).into())
    }
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
        let parameters = hex::decode(&file.parameters)
            .map_err(|_| Error::file(path, "parameters is not hex; run host calibrate again"))?;
        return Ok(Some((parameters, file.needs)));
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

fn text(report: &Report) -> Page {
    let mut page: Page = [
        format!(
            "{}: {} records, {} steps, {}",
            report.journal.display(),
            report.verified.records,
            report.steps,
            names(report)
        ),
        format!("  chain      {}", chain(report)),
        format!("  signature  {}", signature(report)),
        format!("  replay     {}", replayed(report)),
    ]
    .into_iter()
    .collect();
    let findings = report.verified.findings.iter().chain(&report.replay.findings);
    page.lines(findings.map(|finding: &Finding| format!("  ! {finding}")));
    let difference = report.replay.first_difference.iter();
    page.lines(difference.map(|difference: &Difference| format!("  ! {difference}")));
    if let Some(what_if) = report.what_if {
        page.line("");
        page.line(format!(
            "what {} would have said in place of {}, from what was recorded:",
            what_if.other, what_if.recorded
        ));
        page.append(&report::what_if_table(what_if));
    }
    page.line(if report.passed { "passed" } else { "FAILED: don't rely on this journal" });
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

fn signature(report: &Report) -> String {
    let verified = report.verified;
    if verified.key_is_recorded {
        format!(
            "by key {}, which lies beside the journal: whoever changed one can have changed \
             the other (--key FILE names the one to trust)",
            verified.key
        )
    } else {
        format!("checked with the key {} that was named", verified.key)
    }
}

fn replayed(report: &Report) -> String {
    let replay = report.replay;
    let share = match replay.assessments {
        0 => 100.0,
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
