//! Journals whose own key signed what no run can have written.

use std::fs;
use std::ops::Range;

use host_audit::journal::{Answered, Journal, JournalWriter, Start, stand_in, standing};
use host_contract::{Action, Assessment};
use host_sandbox::Limits;

use super::{Desk, FULL, Mode, STEPS, outcome, problems, run};
use crate::support::{sample, says};

impl Desk {
    /// Steps and an ending, signed as ever.
    fn ended(&self, name: &str, steps: Range<u64>, ending: &str) -> String {
        let (run, needs) = (run(), sample::needs());
        let start = self.start(&run, &needs, "{}");
        let folder = self.path(name);
        let mut journal = JournalWriter::create(&folder, &start, &self.signer).unwrap();
        let last = steps.end.checked_sub(1).and_then(outcome);
        self.steps(&mut journal, steps, Vec::new(), |_, _| {});
        journal.end(ending, last).unwrap();
        problems(&folder, Some(self.signer.public()))
    }
}

#[test]
fn steps_and_ending_must_add_up() {
    let desk = Desk::new();
    let all = 0..STEPS;
    for (name, steps, ending, wrong) in [
        ("whole", all.clone(), "finished", ""),
        ("interrupted", 0..50, "interrupted", ""),
        ("failed", 0..50, "failed", ""),
        ("dropped", 0..50, "finished", "finished after 50 of 198 steps"),
        ("late", 5..STEPS, "finished", "is of step 5, and step 0 was to come next"),
        ("kept on", all.clone(), "interrupted", "does not follow"),
        ("never", all.clone(), "stopped", "does not follow"),
        ("beyond", 0..STEPS + 1, "finished", "and the run had 198 steps"),
        ("other word", all, "passed", "does not follow"),
    ] {
        let found = desk.ended(name, steps, ending);
        assert!(found.is_empty() == wrong.is_empty() && found.contains(wrong), "{name}: {found}");
    }
}

#[test]
fn a_run_that_was_stopped_ends_there() {
    let desk = Desk::new();
    let stopping = |name: &str, ending: &str, at: u64, steps: u64| {
        let (run, needs) = (run(), sample::needs());
        let start = desk.start(&run, &needs, "{}");
        let folder = desk.path(name);
        let mut journal = JournalWriter::create(&folder, &start, &desk.signer).unwrap();
        desk.steps(&mut journal, 0..steps, Vec::new(), |step, assessment| {
            if step == at {
                assessment.regularization.action = Action::Stop;
            }
        });
        let last = outcome(steps - 1).map(|last| host_contract::Outcome {
            action: if at + 1 == steps { Action::Stop } else { Action::Update },
            ..last
        });
        journal.end(ending, last).unwrap();
        problems(&folder, None)
    };
    assert_eq!(stopping("stopped", "stopped", 9, 10), "");
    let found = stopping("finished", "finished", STEPS - 1, STEPS);
    assert!(found.contains("does not follow"), "{found}");
    let found = stopping("went on", "finished", 9, STEPS);
    assert!(found.contains("at which the run was stopped"), "{found}");
}

/// A fault, what stands in for it, and the ending.
fn faulty(desk: &Desk, name: &str, on_fault: &str, stands_in: Option<&Assessment>) -> String {
    let (run, needs) = (run(), sample::needs());
    let start = Start { on_fault: on_fault.into(), ..desk.start(&run, &needs, "{}") };
    let folder = desk.path(name);
    let mut journal = JournalWriter::create(&folder, &start, &desk.signer).unwrap();
    let mut signals = sample::signals();
    signals.step = 0;
    let answered = Answered::Fault { error: "it crashed", stands_in };
    journal.assessment(0, 0, &signals, &[], &answered).unwrap();
    journal.end(if stands_in.is_some() { "interrupted" } else { "failed" }, outcome(0)).unwrap();
    let replay = desk.replay(&folder);
    let findings = replay.findings.iter().map(ToString::to_string);
    let found: Vec<String> = findings.chain([problems(&folder, None)]).collect();
    found.join("; ").trim_matches([';', ' ']).to_owned()
}

#[test]
fn what_stands_in_for_a_failed_policy_is_computed_again() {
    let desk = Desk::new();
    let samples = sample::signals().samples.len();
    let strict = stand_in(samples, "it crashed", &[]);
    assert_eq!(faulty(&desk, "strict", "strict=2", Some(&strict)), "");
    assert_eq!(faulty(&desk, "ended", "stop", None), "");
    let mut lax = strict.clone();
    lax.regularization.kl_weight[0] = 0.0;
    let found = faulty(&desk, "lax", "strict=2", Some(&lax));
    assert!(found.contains("is not the most restrictive"), "{found}");
    let found = faulty(&desk, "went on", "stop", Some(&strict));
    assert!(found.contains("fault 1 in a row, which ends the run"), "{found}");
    let found = faulty(&desk, "gave up", "strict=2", None);
    assert!(found.contains("does not end the run"), "{found}");
}

#[test]
fn a_replay_has_the_limits_of_the_run_and_no_more_than_it_may() {
    let desk = Desk::new();
    let journal = Journal::read(&desk.genuine("journal"), None).unwrap();
    let own = Limits { call_milliseconds: 7, ..Limits::default() };
    assert_eq!(journal.limits(&own).unwrap(), own);
    let less = Limits { fuel_per_call: 5, ..own };
    says(&journal.limits(&less).unwrap_err(), &["limits.fuel_per_call", "--set", "may have 5"]);
}

#[test]
fn only_a_journal_that_its_key_vouches_for_stands() {
    let desk = Desk::new();
    let folder = desk.genuine("journal");
    let found = standing(&folder, desk.signer.public()).unwrap();
    assert_eq!((found.records, found.run.as_deref()), (STEPS + 2, Some(&*desk.identity.run)));
    let (other, _) = desk.record("other", Mode::Full, FULL, &desk.signer, |_, a| a.risk[0] = 0.9);
    fs::copy(other.join("records.jsonl"), folder.join("records.jsonl")).unwrap();
    says(&standing(&folder, desk.signer.public()).unwrap_err(), &["does not fit"]);
    let stranger = super::key(&desk.folder, "stranger");
    says(&standing(&other, stranger.public()).unwrap_err(), &["is by key"]);
}

#[test]
fn a_journal_without_what_its_run_is_made_of_is_not_whole() {
    let mut desk = Desk::new();
    desk.identity.run = "another".into();
    let folder = desk.genuine("journal");
    assert!(problems(&folder, None).contains("does not name what the run is made of"));
}
