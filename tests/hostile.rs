//! Every hostile policy of tests/fixtures/hostile is stopped as its file says, through
//! the real program, in both modes.

use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::Duration;

use hostile::{Answered, HostilePolicy, Leftovers, Mode, Outcome, Stopped, Trial};

/// Faults in a row that the runs in strict mode survive.
const STRICT: u64 = 2;
/// Stopping takes a second or two; a busy machine may take this.
const BOUND: Duration = Duration::from_secs(60);
/// A message is cut at 1000 characters; the rest says where it came from.
const MESSAGE: usize = 1500;

type Check = Result<(), String>;

#[test]
fn hostile_policies_are_stopped() {
    each(stop);
}

#[test]
fn hostile_policies_are_survived_or_stopped_in_strict_mode() {
    each(strict);
}

/// Every hostile policy is tried, on several threads, before the failures are told together.
fn each(check: impl Fn(&HostilePolicy) -> Check + Sync) {
    let policies = HostilePolicy::all().unwrap();
    assert!(policies.len() >= 120, "hostile policies are missing");
    let threads = available_parallelism().unwrap().get().div_ceil(2);
    let (queue, failures) = (Mutex::new(policies.into_iter()), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(hostile) = next() {
                    if let Err(failure) = check(&hostile) {
                        let failure = format!("{}: {failure}", hostile.name);
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn stop(hostile: &HostilePolicy) -> Check {
    let outcome = run(hostile, Mode::Stop)?;
    let Stopped::Assess(step) = hostile.stopped else {
        return elsewhere(hostile, &outcome);
    };
    ended(hostile, &outcome, hostile.stopped)?;
    // Before the update of that step, which is on record.
    let mut answers = vec![Answered::Assessment; step as usize];
    answers.push(Answered::Fault);
    left_failed(&outcome, step, &answers)
}

fn strict(hostile: &HostilePolicy) -> Check {
    let outcome = run(hostile, Mode::Strict(STRICT))?;
    let Stopped::Assess(step) = hostile.stopped else {
        return elsewhere(hostile, &outcome);
    };
    if hostile.recovers {
        expect(outcome.code == Some(0), "it goes on", &outcome)?;
        let answers = left_finished(&outcome)?;
        let stands_in = |answer: &&Answered| **answer == Answered::StandIn;
        let count = answers.iter().filter(stands_in).count() as u64;
        let first = answers.iter().position(|answer| *answer != Answered::Assessment);
        return expect(
            first == Some(step as usize) && (1..=STRICT).contains(&count),
            "the journal shows what stood in",
            &outcome,
        );
    }
    ended(hostile, &outcome, Stopped::Assess(step + STRICT))?;
    let mut answers = vec![Answered::Assessment; step as usize];
    answers.extend([Answered::StandIn; STRICT as usize]);
    answers.push(Answered::Fault);
    left_failed(&outcome, step + STRICT, &answers)
}

/// Those that never get to a step, and those that do no harm: either mode is alike.
fn elsewhere(hostile: &HostilePolicy, outcome: &Outcome) -> Check {
    if hostile.stopped == Stopped::Never {
        expect(outcome.code == Some(0), "exit code 0", outcome)?;
        let answers = left_finished(outcome)?;
        let fine = answers.iter().all(|answer| *answer == Answered::Assessment);
        return expect(fine, "every step is assessed", outcome);
    }
    ended(hostile, outcome, hostile.stopped)?;
    expect(outcome.left == Leftovers::Nothing, "nothing is left", outcome)
}

/// Runs in a folder of its own, and checks what holds for every run.
fn run(hostile: &HostilePolicy, mode: Mode) -> Result<Outcome, String> {
    let folder = tempfile::tempdir().unwrap();
    let host = PathBuf::from(env!("CARGO_BIN_EXE_host"));
    let trial = Trial { host: &host, folder: folder.path(), mode };
    let outcome = trial.run(hostile).map_err(|error| error.to_string())?;
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    expect(outcome.time < BOUND, "it ends soon", &outcome)?;
    expect(!said.contains("panicked"), "no panic", &outcome)?;
    expect(!said.contains("stack backtrace"), "no backtrace", &outcome)?;
    expect(!said.chars().any(is_unsafe), "clean text", &outcome)?;
    Ok(outcome)
}

/// Characters that move, hide or reorder what a terminal shows.
fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Exit code and last line.
fn ended(hostile: &HostilePolicy, outcome: &Outcome, stopped: Stopped) -> Check {
    expect(outcome.code == Some(hostile.exit), "the exit code", outcome)?;
    let message = outcome.message();
    let place = match stopped {
        // A file that is refused is in no function yet.
        Stopped::Load if hostile.exit == 1 => String::new(),
        // Whether the run can serve the needs is asked after configure.
        Stopped::Configure if hostile.exit == 1 => String::new(),
        _ => format!(", {stopped}: "),
    };
    let file = format!("{}.wasm", hostile.name);
    let limit = hostile.by.strip_prefix("limits.").map(|_| &hostile.by);
    let parts = [&file, &place].into_iter().chain(limit).chain(&hostile.says);
    for part in parts {
        expect(message.contains(part.as_str()), part, outcome)?;
    }
    expect(message.starts_with("error: "), "an error", outcome)?;
    expect(message.chars().count() < MESSAGE, "a short message", outcome)
}

fn left_failed(outcome: &Outcome, steps: u64, answers: &[Answered]) -> Check {
    let expected = matches!(&outcome.left, Leftovers::Run { status, steps: made, adapter: false, journal }
        if status == "failed"
            && *made == steps
            && journal.ending.as_deref() == Some("failed")
            && journal.problems.is_empty()
            && journal.replays
            && journal.answers == answers);
    expect(expected, "a failed run with its journal, no adapter", outcome)
}

fn left_finished(outcome: &Outcome) -> Result<&[Answered], String> {
    match &outcome.left {
        Leftovers::Run { status, adapter: true, journal, .. }
            if status == "finished" && journal.problems.is_empty() && journal.replays =>
        {
            Ok(&journal.answers)
        }
        _ => Err(failed("a finished run with its journal and adapter", outcome)),
    }
}

fn expect(holds: bool, what: &str, outcome: &Outcome) -> Check {
    if holds { Ok(()) } else { Err(failed(what, outcome)) }
}

fn failed(what: &str, outcome: &Outcome) -> String {
    format!("expected {what:?}, got {outcome:#?}")
}
