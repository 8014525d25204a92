//! Same arguments, same bytes, same fuel: what makes a policy replayable.

use super::{
    SAMPLES,
    finding::{Check, Finding, Group},
    observed::Recorder,
};
use crate::synthetic::{Step, examples};
use host_contract::assessment_to_json;
use host_sandbox::{Assessed, Cost, Policy, Result};

const ASSESS: Check = Check::new("purity", Group::Purity, "assess is a pure function");
const RELOAD: Check = Check::new("purity-reload", Group::Purity, "assess after a second load");
const DESCRIBE: Check = Check::new("descriptor", Group::Purity, "describe and configure");
const CALIBRATE: Check =
    Check::new("calibrate-purity", Group::Purity, "calibrate is a pure function");

/// With what it means that the answer never changes.
const ASSESS_PURE: &str = "A journal of a run can be replayed on any machine and must give the same \
                           bytes; whoever changes one number in it is found out.";
const RELOAD_PURE: &str = "Nothing is carried from one load of the file to the next.";
const DESCRIBE_PURE: &str = "It is the same policy, with the same needs, whenever it is asked.";
const CALIBRATE_PURE: &str = "The same labelled examples always give the same parameters.";
const IMPURE: &str = "The same arguments gave different answers. A replay can't tell this from a \
                      forged journal: don't sign it.";
/// Calls of `describe` and `configure`.
const FEW: usize = 10;

/// What a call gave: canonical bytes and fuel.
type Print = (String, u64);

pub(super) fn checks(recorder: &Recorder<'_>, bytes: &[u8], repeats: usize) -> Vec<Finding> {
    let mut findings = vec![assess(recorder, repeats), reload(recorder, bytes), describe(recorder)];
    findings.push(calibrate(recorder));
    findings
}

fn step() -> Step {
    Step::graded((0..SAMPLES).map(|i| i as f64 / 7.0), 0.5)
}

fn assess(recorder: &Recorder<'_>, repeats: usize) -> Finding {
    let signals = recorder.subject.signals(&step());
    let call = || print(&recorder.assess_signals(&signals, &[])?);
    verdict(ASSESS, ASSESS_PURE, repeats, "fresh instances", repeat(repeats, call))
}

/// Compiled or read from the cache once more, and asked the same.
fn reload(recorder: &Recorder<'_>, bytes: &[u8]) -> Finding {
    let subject = recorder.subject;
    let signals = subject.signals(&step());
    let mut loads = [Some(subject.policy), None].into_iter().flatten();
    let call = || {
        if let Some(policy) = loads.next() {
            print(&policy.assess(subject.call(&signals, &[]))?)
        } else {
            let engine = subject.policy.engine();
            let again = Policy::from_bytes(engine, subject.policy.path(), bytes)?;
            print(&again.assess(subject.call(&signals, &[]))?)
        }
    };
    verdict(RELOAD, RELOAD_PURE, 2, "loads", repeat(2, call))
}

fn describe(recorder: &Recorder<'_>) -> Finding {
    let subject = recorder.subject;
    let call = || {
        let (descriptor, one) = subject.policy.describe_at_cost()?;
        let (needs, other) = subject.policy.configure_at_cost(&subject.settings, &subject.run)?;
        Ok((format!("{descriptor:?}{needs:?}"), one.fuel + other.fuel))
    };
    verdict(DESCRIBE, DESCRIBE_PURE, FEW, "calls of each", repeat(FEW, call))
}

fn calibrate(recorder: &Recorder<'_>) -> Finding {
    let subject = recorder.subject;
    if !subject.configured.calibration {
        return CALIBRATE.not_applicable("-", "The policy does not calibrate itself.");
    }
    let examples = examples(&subject.synthetic(&subject.configured));
    let call = || {
        let policy = subject.policy;
        let (fit, Cost { fuel, .. }) =
            policy.calibrate_at_cost(&subject.settings, &subject.run, &examples)?;
        Ok((format!("{fit:?}"), fuel))
    };
    verdict(CALIBRATE, CALIBRATE_PURE, 2, "calls", repeat(2, call))
}

fn print(assessed: &Assessed) -> Result<Print> {
    // What was validated has no NaN, so it always has a JSON.
    let json = assessment_to_json(&assessed.assessment).unwrap_or_default();
    Ok((json, assessed.fuel))
}

/// The first print, and the first call whose print was another one.
fn repeat(times: usize, mut call: impl FnMut() -> Result<Print>) -> Result<(Print, Option<usize>)> {
    let first = call()?;
    for number in 2..=times {
        if call()? != first {
            return Ok((first, Some(number)));
        }
    }
    Ok((first, None))
}

fn verdict(
    check: Check,
    pure: &str,
    times: usize,
    what: &str,
    result: Result<(Print, Option<usize>)>,
) -> Finding {
    match result {
        Ok(((_, fuel), None)) => {
            check.pass(format!("{times} {what}: the same bytes, and {fuel} fuel each time"), pure)
        }
        Ok((_, Some(number))) => {
            check.fail(format!("number {number} of {times} {what} differs"), IMPURE)
        }
        Err(error) => check.broken(&error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::checks::Verdict;

    #[test]
    fn one_other_byte_or_one_more_instruction_is_found() {
        let of = |call: &mut dyn FnMut() -> Result<Print>| {
            verdict(ASSESS, ASSESS_PURE, 5, "calls", repeat(5, call))
        };
        assert_eq!(of(&mut || Ok(("a".into(), 1))).verdict, Verdict::Pass);
        let mut calls = 0;
        let changed = of(&mut || {
            calls += 1;
            Ok((if calls == 4 { "b" } else { "a" }.into(), 1))
        });
        assert_eq!(changed.verdict, Verdict::Fail);
        assert_eq!(changed.measured, "number 4 of 5 calls differs");
        let mut fuel = 0;
        let dearer = of(&mut || {
            fuel += 1;
            Ok(("a".into(), fuel))
        });
        assert_eq!(dearer.measured, "number 2 of 5 calls differs");
    }
}
