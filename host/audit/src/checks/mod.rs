//! Whether a policy behaves as one must, found out by asking it.
//!
//! The sandbox keeps a policy from doing anything but compute. What it computes is
//! another matter: an audit calls it with signals that no model made, clean ones and
//! broken ones, and says in words what came back and what that means for the person
//! who signs the policy off. It proves nothing about signals that it did not try.

mod batch_independence;
mod cost;
mod damage;
mod finding;
mod late;
mod metamorphic;
mod monotonicity;
mod observed;
mod purity;
mod ranges;
mod recorded;
mod settings;
mod state;

pub use finding::{Finding, Group, Verdict};
pub use metamorphic::Field;
pub use recorded::RecordedRun;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    coverage::Coverage,
    inspect::{Inspection, Signature, bytes_of, inspect},
    synthetic::{Step, Subject},
};
use finding::Check;
use host_contract::{Needs, RunInfo, exceeds};
use host_sandbox::{Policy, PolicyKey, Result};
use observed::Recorder;

/// Samples of a step, where nothing else is said.
const SAMPLES: usize = 8;

/// What is audited, and how thoroughly.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// A JSON object.
    pub settings: &'a str,
    /// The run that the policy is configured for; judges that it asks for are added.
    pub run: RunInfo,
    /// Draws the synthetic signals.
    pub seed: u64,
    /// Parameters that were calibrated elsewhere, and the needs that go with them;
    /// without them the policy is calibrated on synthetic examples.
    pub calibrated: Option<(Vec<u8>, Needs)>,
    pub signed_by: Option<&'a PolicyKey>,
    /// Calls with the same arguments.
    pub repeats: usize,
    /// What the answer may depend on beside the measurements, such as the step of a schedule.
    pub depends_on: &'a [Field],
    /// Runs whose recorded signals it is asked about as well.
    pub runs: Vec<RecordedRun<'a>>,
}

/// What an audit found.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// True if no check failed.
    pub passed: bool,
    /// Version of the host.
    pub host: &'static str,
    pub inspection: Inspection,
    pub settings: serde_json::Value,
    pub run: RunInfo,
    /// Draws the run and its signals; the same seed audits the same.
    pub seed: u64,
    /// How the policy got its parameters.
    pub parameters: String,
    pub repeats: usize,
    pub findings: Vec<Finding>,
    /// What of the policy's code all of this has reached.
    pub coverage: Coverage,
    #[serde(skip)]
    pub time: Duration,
}

const SIGNATURE: Check = Check::new("signature", Group::File, "Signature");
const CALIBRATION: Check =
    Check::new("calibration", Group::Behaviour, "Calibration on two clusters");
const ANSWERS: Check = Check::new("answers", Group::Behaviour, "An ordinary step is answered");

/// Audits a policy that was loaded from the file `path`. `stage` is told what is being
/// done.
///
/// # Errors
/// Settings that the policy refuses, a fault in `configure`, and a file that is no
/// longer what was loaded. Whatever goes wrong after that is a finding.
pub fn audit(
    policy: &Policy,
    path: &Path,
    options: &Options<'_>,
    stage: &mut dyn FnMut(&str),
) -> Result<Audit> {
    let started = Instant::now();
    stage("reading the file");
    let bytes = bytes_of(policy, path)?;
    let asked = ask(policy, &bytes, options, stage)?;
    let inspection = inspect(policy, path, options.signed_by, Some(&asked.configured))?;
    let mut findings = vec![signature(&inspection.signature)];
    findings.extend(asked.findings);
    findings.sort_by_key(|finding| finding.group);
    let coverage = Coverage::of(policy, &bytes, |copy, bytes| {
        stage("the code that this reaches");
        let options = Options { repeats: 2, ..options.clone() };
        ask(copy, bytes, &options, &mut |_| {}).map(|_| ())
    });
    Ok(Audit {
        passed: findings.iter().all(|one| one.verdict != Verdict::Fail),
        host: env!("CARGO_PKG_VERSION"),
        inspection,
        settings: serde_json::from_str(options.settings).unwrap_or_default(),
        run: asked.run,
        seed: options.seed,
        parameters: asked.parameters.unwrap_or_else(|| "none: there are no usable ones".into()),
        repeats: options.repeats,
        findings,
        coverage,
        time: started.elapsed(),
    })
}

/// What came of all questions.
struct Asked {
    run: RunInfo,
    configured: Needs,
    parameters: Option<String>,
    findings: Vec<Finding>,
}

/// Every question of an audit.
fn ask(
    policy: &Policy,
    bytes: &[u8],
    options: &Options<'_>,
    stage: &mut dyn FnMut(&str),
) -> Result<Asked> {
    let mut subject = Subject::configure(policy, options.settings, &options.run, options.seed)?;
    let mut findings = Vec::new();
    let parameters = if let Some((parameters, needs)) = &options.calibrated {
        take(&mut subject, parameters, needs, &mut findings)
    } else {
        stage("calibrating");
        calibrate(&mut subject, &mut findings)
    };
    if parameters.is_some() {
        behaviour(&subject, bytes, options, &mut findings, stage);
    }
    stage("recorded runs");
    findings.extend(recorded::checks(policy, &options.runs, subject.seed, options.depends_on));
    Ok(Asked { run: subject.run, configured: subject.configured, parameters, findings })
}

/// Every check that asks the policy something.
fn behaviour(
    subject: &Subject<'_>,
    bytes: &[u8],
    options: &Options<'_>,
    findings: &mut Vec<Finding>,
    stage: &mut dyn FnMut(&str),
) {
    let recorder = Recorder::new(subject);
    stage("settings");
    findings.extend(settings::checks(subject));
    stage("one step");
    let step = Step::graded((0..SAMPLES).map(|i| i as f64 / 7.0), 0.5);
    if let Err(error) = recorder.assess(&step, &[]) {
        findings.push(ANSWERS.fail(
            error.to_string(),
            "Every other check needs an answer to ordinary signals, so nothing more \
             was tried. A run would end here.",
        ));
        return;
    }
    findings.push(ANSWERS.pass(
        format!("{SAMPLES} samples"),
        "The policy works with these settings, so the checks below mean something.",
    ));
    stage("the same call again and again");
    findings.extend(purity::checks(&recorder, bytes, options.repeats));
    stage("cost");
    findings.extend(cost::checks(&recorder));
    stage("order and batch");
    findings.extend(batch_independence::checks(&recorder));
    stage("graded risk");
    findings.extend(monotonicity::checks(&recorder));
    stage("the same in other runs");
    findings.extend(metamorphic::checks(&recorder, options.depends_on));
    stage("broken signals");
    findings.extend(damage::checks(&recorder));
    stage("200 steps");
    findings.extend(state::checks(&recorder));
    stage("many steps");
    findings.extend(late::checks(&recorder));
    findings.extend(cost::memory(&recorder));
    findings.extend(ranges::checks(&recorder));
}

fn signature(signature: &Signature) -> Finding {
    let measured = signature.to_string();
    match signature {
        Signature::Valid { .. } => SIGNATURE.pass(
            measured,
            "The file is, byte for byte, the one that the holder of this key signed.",
        ),
        Signature::Invalid { .. } => SIGNATURE.fail(
            measured,
            "The key that was asked for did not sign this file. Don't use it before \
             you know why.",
        ),
        Signature::Absent | Signature::Unchecked { .. } | Signature::UncheckedCosign => SIGNATURE
            .not_applicable(
                measured,
                "No key was given, so nothing is said about who made this file. Its \
             sha256 is what identifies it.",
            ),
    }
}

/// Parameters that came from elsewhere, unless they ask for more than the policy does.
fn take(
    subject: &mut Subject<'_>,
    parameters: &[u8],
    needs: &Needs,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    if let Some(beyond) = exceeds(needs, &subject.configured) {
        findings.push(CALIBRATION.fail(
            format!("the calibration file: {beyond}"),
            "The file asks for more than the policy does with these settings, so it \
             is not of this policy.",
        ));
        return None;
    }
    subject.use_parameters(parameters.to_vec(), needs.clone());
    Some("from the calibration file".to_owned())
}

/// How the policy got its parameters; none if it could not be calibrated.
fn calibrate(subject: &mut Subject<'_>, findings: &mut Vec<Finding>) -> Option<String> {
    match subject.calibrate() {
        Ok(None) => Some("none: the policy does not calibrate itself".into()),
        Ok(Some(calibration)) => {
            findings.push(CALIBRATION.pass(
                format!("{} ({} bytes)", calibration.summary, calibration.parameters.len()),
                "The policy fits itself to labelled examples that are easy to tell \
                 apart. The risks below are those of this fit, not of a real \
                 model's.",
            ));
            Some("calibrated on synthetic examples".into())
        }
        Err(error) => {
            findings.push(CALIBRATION.fail(
                error.to_string(),
                "It could not be calibrated on 96 examples of two well separated \
                 clusters, so nothing that it assesses was checked. Give \
                 --calibration FILE to audit it with a real one.",
            ));
            None
        }
    }
}
