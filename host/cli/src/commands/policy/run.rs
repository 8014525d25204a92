use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use host_audit::{
    cases::{Case, pretty},
    journal::Journal,
};
use host_sandbox::{Limits, Policy};
use host_trainer::Error;
use host_trainer::records::Ending;
use serde_json::json;

use super::test::case_error;
use crate::commands::audit::{calibrated, journal_folder};
use crate::commands::registry::RegistryFlags;
use crate::commands::subject::SubjectFlags;
use crate::out::{print_json_text, say};

/// Ask a policy one recorded case, or every step of a run, and print the answers.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("asked").required(true).args(["case", "run"])))]
pub struct Arguments {
    /// Policy to ask: a file, builtin:NAME, or oci://REGISTRY/NAME:TAG.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub registry: RegistryFlags,
    /// Case with the function and its arguments.
    #[arg(value_name = "CASE.json")]
    pub case: Option<PathBuf>,
    /// Folder of a run: asks the policy what it makes of every recorded step.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    #[command(flatten)]
    pub subject: SubjectFlags,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let limits = Limits::default();
    let file = arguments.registry.pin(&arguments.file, &limits)?;
    let policy = Policy::load(&arguments.registry.engine(&limits)?, &file);
    let policy = policy.map_err(Error::from)?;
    match (&arguments.case, &arguments.run) {
        (Some(case), _) => one(case, &policy),
        (None, Some(run)) => every_step(run, &policy, arguments),
        // The arguments ask for one of the two.
        (None, None) => Ok(Ending::Finished),
    }
}

fn one(case: &Path, policy: &Policy) -> anyhow::Result<Ending> {
    let case = Case::read(case).map_err(case_error)?;
    let answered = case.call(policy).map_err(case_error)?;
    print_json_text(pretty(&answered.answer).trim_end())?;
    match answered.cost {
        Some(cost) => say(format!(
            "{} fuel, {} bytes of memory, {:.3} ms",
            cost.fuel,
            cost.memory_bytes,
            cost.time.as_secs_f64() * 1000.0
        )),
        None => say("the policy refused"),
    }
    Ok(Ending::Finished)
}

/// A line of JSON per step.
fn every_step(run: &Path, policy: &Policy, arguments: &Arguments) -> anyhow::Result<Ending> {
    let journal = Journal::read(&journal_folder(run)?, None)?;
    let settings = arguments.subject.settings();
    let calibration = arguments.subject.calibration.as_deref();
    let calibrated = calibrated(&journal, run, policy, calibration, &settings)?;
    let parts = calibrated.as_ref();
    let parts = parts.map(|(parameters, needs)| (parameters.as_slice(), needs));
    let mut lines = Vec::new();
    journal.ask(policy, &settings.to_string(), parts, |call, _, answer| {
        let step = call.signals.step;
        lines.push(match answer {
            Ok(assessed) => json!({
                "step": step, "assessment": assessed.assessment, "fuel": assessed.fuel,
            }),
            Err(error) => json!({ "step": step, "error": error.to_string() }),
        });
    })?;
    for line in lines {
        print_json_text(&line.to_string())?;
    }
    Ok(Ending::Finished)
}
