use std::path::Path;

use host_policy::Policy;
use host_policy::cases::{Case, pretty};
use host_policy::journal::Journal;
use host_trainer::Error;
use host_trainer::records::Ending;
use serde_json::json;

use super::test::case_error;
use crate::arguments::RunArguments;
use crate::commands::audit::{calibrated, journal_folder};
use crate::commands::{engine, print_text};

pub fn run(arguments: &RunArguments) -> anyhow::Result<Ending> {
    let policy = Policy::load(&engine(&Default::default())?, &arguments.file);
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
    print_text(pretty(&answered.answer).trim_end())?;
    match answered.cost {
        Some(cost) => eprintln!(
            "{} fuel, {} bytes of memory, {:.3} ms",
            cost.fuel,
            cost.memory_bytes,
            cost.time.as_secs_f64() * 1000.0
        ),
        None => eprintln!("the policy refused"),
    }
    Ok(Ending::Finished)
}

/// A line of JSON per step.
fn every_step(run: &Path, policy: &Policy, arguments: &RunArguments) -> anyhow::Result<Ending> {
    let journal = Journal::read(&journal_folder(run)?, None)?;
    let settings = arguments.subject.settings();
    let calibration = arguments.subject.calibration.as_deref();
    let calibrated = calibrated(&journal, run, policy, calibration, &settings)?;
    let parts = calibrated.as_ref();
    let parts = parts.map(|(parameters, needs)| (parameters.as_slice(), needs));
    let mut lines = Vec::new();
    journal.ask(policy, &settings.to_string(), parts, |step, _, answer| {
        lines.push(match answer {
            Ok(assessed) => json!({
                "step": step, "assessment": assessed.assessment, "fuel": assessed.fuel,
            }),
            Err(error) => json!({ "step": step, "error": error.to_string() }),
        });
    })?;
    for line in lines {
        print_text(&line.to_string())?;
    }
    Ok(Ending::Finished)
}
