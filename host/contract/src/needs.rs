//! What a policy asks for: whether it makes sense, whether this run has it, and how
//! to say it to a person.

use crate::{
    actuators::ACTUATORS,
    invalid::Invalid,
    run::{RunCapabilities, Unmet},
    signals::{Needs, SIGNALS},
    types::RunInfo,
};

/// Taps, judges and trials beyond this are a mistake: each costs a measurement.
const MOST: usize = 64;
/// Rows of the run that a calibration can see.
const MOST_ROWS: u32 = 4096;

/// Checks needs against the interface and against the run.
///
/// # Errors
/// The first field that is wrong. `Invalid::unmet` tells needs that are well-formed
/// and only too much for this run from ones that break the interface's rules.
pub fn validate_needs(needs: &Needs, run: &RunInfo) -> Result<(), Invalid> {
    for signal in SIGNALS {
        let count = signal.entries(needs);
        if count > MOST {
            let problem = format!("has {count} entries; at most {MOST} are allowed");
            return Err(Invalid::new(signal.need().unwrap_or("needs"), problem));
        }
    }
    if needs.calibration_rows > MOST_ROWS {
        let problem = format!("is {}; it must be from 0 to {MOST_ROWS}", needs.calibration_rows);
        return Err(Invalid::new("needs.calibration-rows", problem));
    }
    needs.token_set.map_or(Ok(()), |set| set.check(run.vocabulary))?;
    SIGNALS.iter().try_for_each(|signal| signal.check(needs, run))
}

/// The first thing that `narrow` asks for and `wide` does not; none if `narrow` is at
/// most `wide`. Calibrated needs must be at most the configured ones, since the host
/// has prepared for those.
pub fn exceeds(narrow: &Needs, wide: &Needs) -> Option<Invalid> {
    let rest = [
        ("needs.calibration", narrow.calibration && !wide.calibration),
        ("needs.calibration-rows", narrow.calibration_rows > wide.calibration_rows),
        ("needs.token-set", narrow.token_set.is_some() && narrow.token_set != wide.token_set),
        ("needs.actuators", !wide.actuators.contains(narrow.actuators)),
    ];
    let rest = rest.into_iter().filter(|(_, exceeded)| *exceeded);
    let mut fields = SIGNALS
        .iter()
        .filter_map(|signal| signal.exceeds(narrow, wide))
        .chain(rest.map(|(field, _)| field.to_owned()));
    fields.next().map(|field| Invalid::new(field, "goes beyond what configure asked for"))
}

/// Finds, before anything expensive runs, what a run can't measure or steer.
///
/// # Errors
/// The first need that the run can't meet.
pub fn check_capabilities(needs: &Needs, run: &RunCapabilities<'_>) -> Result<(), Unmet> {
    let declared = ACTUATORS.iter().filter(|one| one.is_declared(needs.declared()));
    let mut unmet = declared
        .filter_map(|actuator| actuator.unmet(needs.declared(), run))
        .chain(SIGNALS.iter().filter_map(|signal| signal.unmet(needs, run)));
    unmet.next().map_or(Ok(()), Err)
}

/// Needs in words, one line each; empty if the policy asks for nothing.
pub fn needs_summary(needs: &Needs) -> Vec<String> {
    let mut lines = signals_summary(needs);
    let actuators = needs.actuators.names();
    if !actuators.is_empty() {
        lines.push(format!("may use {}", actuators.join(", ")));
    }
    lines
}

/// What is to be measured and calibrated, in words, one line each.
pub fn signals_summary(needs: &Needs) -> Vec<String> {
    let mut lines: Vec<String> = SIGNALS.iter().flat_map(|signal| signal.summary(needs)).collect();
    lines.extend(needs.token_set.map(|set| set.summary()));
    if needs.calibration {
        lines.push("parameters from calibration".into());
    }
    if needs.calibration_rows > 0 {
        let rows = needs.calibration_rows;
        lines.push(format!("up to {rows} unlabelled rows of the run, when it is calibrated"));
    }
    lines
}

/// What the declared actuators let a policy do to a run, in words, one line each.
pub fn actuators_summary(needs: &Needs) -> Vec<String> {
    let declared = ACTUATORS
        .iter()
        .filter(|one| one.flag().is_some_and(|flag| needs.actuators.contains(flag)));
    declared.map(|one| format!("{}: {}", one.name(), one.meaning())).collect()
}
