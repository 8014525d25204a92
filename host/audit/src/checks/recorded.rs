//! The same properties on what real runs measured: signals of a model, which no audit made up.

use host_contract::{Action, Needs, held, less_held};
use host_sandbox::{Call, Policy};

use super::{
    finding::{Check, Finding, Group},
    metamorphic::{Dependences, Field},
    monotonicity::by_sample,
    observed::{Range, number, widen},
};
use crate::journal::Journal;

const HOLD: Check = Check::new("recorded-hold", Group::Recorded, "Hold");
const MONOTONIC: Check =
    Check::new("recorded-monotonic", Group::Recorded, "Higher risk, stronger hold");
const SAME: Check = Check::new("recorded-depends", Group::Recorded, "The same in any other run");

/// Steps of a run that are asked about once more as if they were of others.
const AGAIN: u64 = 8;

/// The journal of a run, and with what the policy is asked about it.
#[derive(Debug, Clone, Copy)]
pub struct RecordedRun<'a> {
    /// As it was given.
    pub name: &'a str,
    /// Verified by whoever reads the findings.
    pub journal: &'a Journal,
    /// A JSON object.
    pub settings: &'a str,
    /// Parameters and needs of a calibration on the run's model.
    pub calibrated: Option<(&'a [u8], &'a Needs)>,
}

#[derive(Default)]
struct Seen {
    steps: u64,
    free: u64,
    risk: Option<Range>,
    kl: Option<Range>,
    less_held: Option<String>,
    failed: Vec<String>,
    depends: Vec<String>,
    again: u64,
    unasked: Vec<String>,
}

pub(super) fn checks(
    policy: &Policy,
    runs: &[RecordedRun<'_>],
    seed: u64,
    accepted: &[Field],
) -> Vec<Finding> {
    if runs.is_empty() {
        return Vec::new();
    }
    let mut seen = Seen::default();
    for run in runs {
        seen.ask(policy, run, seed, accepted);
    }
    seen.findings()
}

impl Seen {
    fn ask(&mut self, policy: &Policy, run: &RecordedRun<'_>, seed: u64, accepted: &[Field]) {
        let info = &run.journal.run.run;
        let every = (run.journal.steps() / AGAIN).max(1);
        let mut steps = 0;
        let asked = run.journal.ask(policy, run.settings, run.calibrated, |asked, _, answer| {
            let at = format!("{}, step {}", run.name, asked.signals.step);
            let assessment = match answer {
                Ok(assessed) => assessed.assessment,
                Err(error) => return self.failed.push(format!("{at}: {error}")),
            };
            self.steps += 1;
            steps += 1;
            let samples = &asked.signals.samples;
            let held = held(&assessment, samples);
            let applied = assessment.regularization.action == Action::Update;
            let free = held.iter().all(|one| one.kl_weight == 0.0 && one.task_weight > 0.0);
            self.free += u64::from(applied && free);
            widen(&mut self.risk, held.iter().map(|one| one.risk));
            widen(&mut self.kl, held.iter().map(|one| one.kl_weight));
            let weights = by_sample(&assessment);
            if let Some((i, j)) = less_held(&weights).filter(|_| applied) {
                self.less_held.get_or_insert(format!(
                    "{at}: sample {i} ({}) is held less than sample {j} ({})",
                    weights[i], weights[j]
                ));
            }
            if (steps - 1) % every == 0 {
                let mut found = Dependences::new(seed, accepted);
                let again = found.add(info, asked.signals, |info, signals| {
                    policy.assess(Call { run: info, signals, ..asked })
                });
                if again.is_ok() {
                    self.again += 1;
                    let problems = found.problems();
                    self.depends.extend(problems.into_iter().map(|one| format!("{at}, {one}")));
                }
            }
        });
        if let Err(error) = asked {
            self.unasked.push(format!("{}: {error}", run.name));
        }
    }

    fn findings(self) -> Vec<Finding> {
        if self.steps == 0 {
            let problems = [self.unasked, self.failed].concat().join("; ");
            return vec![HOLD.fail(
                problems,
                "No recorded step could be asked about, so nothing is known of real signals. Give \
                 runs of this policy, or ones that recorded what it needs.",
            )];
        }
        vec![self.hold(), self.monotonic(), self.same()]
    }

    fn hold(&self) -> Finding {
        let show = |range: Option<Range>| range.map_or_else(String::new, |one| one.to_string());
        let mut measured = format!(
            "{} steps: risk {}, KL weight {}; {} steps learn without any hold",
            self.steps,
            show(self.risk),
            show(self.kl),
            self.free
        );
        for problem in self.unasked.iter().chain(self.failed.iter().take(1)) {
            measured += &format!("; {problem}");
        }
        if !self.unasked.is_empty() {
            return HOLD.fail(measured, "A run that was named could not be asked about.");
        }
        if !self.failed.is_empty() {
            return HOLD.fail(measured, "It fails on signals of a real run; one would end there.");
        }
        if self.free == self.steps {
            HOLD.note(measured, "In none of these runs it held anything: plain fine-tuning.")
        } else {
            HOLD.pass(measured, "What it does on signals of a real model, with its own state.")
        }
    }

    fn monotonic(&self) -> Finding {
        match &self.less_held {
            Some(found) => MONOTONIC.fail(
                found.clone(),
                "On real signals a riskier sample is held less than a safer one of its step.",
            ),
            None => MONOTONIC.pass(
                format!("within each of {} steps", self.steps),
                "Within a step, a riskier sample was never held less than a safer one.",
            ),
        }
    }

    fn same(&self) -> Finding {
        match self.depends.first() {
            Some(found) => SAME.fail(
                format!("{} differences, the first: {found}", number(self.depends.len() as f64)),
                "The same recorded signals get another answer where only the run, the step or the \
                 rows are named differently.",
            ),
            None => SAME.pass(
                format!("{} recorded steps, each as of other runs", self.again),
                "What it does follows from what is measured, as far as this was tried.",
            ),
        }
    }
}
