//! Whether the records of a journal are those of one run, from its first step to its ending.

use host_contract::{Action, Outcome};
use serde_json::Value;

use super::{
    entry::{Answer, Entry, Record, Run},
    finding::Finding,
};

/// Finds records that come in another order than a run writes them, steps that are missing, and
/// an ending that doesn't follow from them.
pub(super) fn check(entries: &[Entry], run: &Run, findings: &mut Vec<Finding>) {
    let mut reading = Reading::new(run);
    for (number, entry) in (0u64..).zip(entries).skip(1) {
        let found = |problem: String| findings.push(Finding::at(number, problem));
        reading.entry(entry).into_iter().for_each(found);
    }
    if !reading.ended {
        let problem = "the run has no end: it was cut off, or its last records were removed";
        findings.push(Finding::whole(problem));
    }
}

/// How far a run has come.
struct Reading<'a> {
    run: &'a Run,
    /// Faults in a row that a policy may have, as the run was told.
    allowed_faults: u64,
    /// What comes next: a step and a policy, or behind the last policy what they amount to.
    next: (u64, usize),
    /// Faults in a row, per policy.
    faults: Vec<u64>,
    /// The first assessment of the step that is being read.
    first: Option<&'a Record>,
    /// What was asked for at the step before.
    action: Option<Action>,
    /// Set by a fault that ends a run.
    failed: bool,
    ended: bool,
}

impl<'a> Reading<'a> {
    fn new(run: &'a Run) -> Self {
        let allowed = run.on_fault.strip_prefix("strict=").and_then(|steps| steps.parse().ok());
        Self {
            run,
            allowed_faults: allowed.unwrap_or(0),
            next: (0, 0),
            faults: vec![0; run.policies.len()],
            first: None,
            action: None,
            failed: false,
            ended: false,
        }
    }

    fn entry(&mut self, entry: &'a Entry) -> Vec<String> {
        let mut found = Vec::new();
        if std::mem::replace(&mut self.ended, matches!(entry, Entry::End { .. })) {
            found.push("comes after the end of the run".to_owned());
        }
        let (step, part, over) = match entry {
            Entry::Run(_) => {
                found.push("describes a run in the middle of one".to_owned());
                return found;
            }
            Entry::End { ending, last, .. } => {
                found.extend(self.ending(ending, last.as_ref()));
                return found;
            }
            Entry::Assessment(record) => {
                let several = self.run.policies.len() > 1;
                (record.step, record.policy, !several)
            }
            Entry::Combined { step, .. } => (*step, self.run.policies.len(), true),
        };
        if (step, part) != self.next {
            let next = self.next.0;
            found.push(format!("is of step {step}, and step {next} was to come next"));
        }
        if self.failed {
            found.push("comes after a fault that ended the run".to_owned());
        }
        if part == 0 {
            if self.action == Some(Action::Stop) {
                found.push("comes after a step at which the run was stopped".to_owned());
            }
            if step >= self.run.run.total_steps {
                let total = self.run.run.total_steps;
                found.push(format!("is of step {step}, and the run had {total} steps"));
            }
        }
        if let Entry::Assessment(record) = entry {
            found.extend(self.assessment(record));
        }
        self.next = if over { (step.saturating_add(1), 0) } else { (step, part + 1) };
        if over {
            self.first = None;
            self.action = match entry {
                Entry::Assessment(record) => action(answered(record)),
                Entry::Combined { assessment, .. } => action(Some(assessment)),
                _ => None,
            };
        }
        found
    }

    fn assessment(&mut self, record: &'a Record) -> Vec<String> {
        let mut found = Vec::new();
        let signals = &record.signals.signals;
        if signals.step != record.step {
            found.push(format!("has the signals of step {}", signals.step));
        }
        match self.first {
            None => self.first = Some(record),
            Some(first) if first.signals.signals.samples != signals.samples => {
                found.push("is of other samples than the policy before it".to_owned());
            }
            Some(_) => {}
        }
        if let Some(previous) = &signals.previous {
            found.extend(self.outcome(previous, record.step.checked_sub(1)));
        }
        if let Some(faults) = self.faults.get_mut(record.policy) {
            match &record.answer {
                Answer::Assessment { .. } => *faults = 0,
                Answer::Fault { stands_in, .. } => {
                    *faults += 1;
                    let ends = *faults > self.allowed_faults;
                    if ends == stands_in.is_some() {
                        found.push(format!(
                            "is fault {faults} in a row, which {} the run under on_fault = {}",
                            if ends { "ends" } else { "does not end" },
                            self.run.on_fault
                        ));
                    }
                    self.failed |= ends;
                }
            }
        }
        found
    }

    /// What became of a step must be what was asked for there, or a skip.
    fn outcome(&self, outcome: &Outcome, step: Option<u64>) -> Option<String> {
        let fits = Some(outcome.step) == step
            && (outcome.action == Action::Skip || Some(outcome.action) == self.action);
        (!fits).then(|| {
            format!(
                "says that {:?} became of step {}, which is not what was asked for",
                outcome.action, outcome.step
            )
        })
    }

    fn ending(&self, ending: &str, last: Option<&Outcome>) -> Vec<String> {
        let (steps, total) = (self.next.0, self.run.run.total_steps);
        let stopped = self.action == Some(Action::Stop);
        let whole = self.next.1 == 0 && !self.failed;
        let fits = match ending {
            "finished" => whole && steps == total && !stopped,
            "stopped" => whole && stopped,
            "interrupted" | "early-stop" => whole && steps < total && !stopped,
            "failed" => true,
            _ => false,
        };
        let mut found = Vec::new();
        if !fits {
            found.push(format!(
                "says that the run {} after {steps} of {total} steps, which does not follow from \
                 the records before it",
                host_files::text::clean(ending, 40)
            ));
        }
        match last {
            // A step that failed has no outcome; the last one is that of a step before.
            Some(last) if ending == "failed" && last.step < steps => {}
            Some(last) => found.extend(self.outcome(last, steps.checked_sub(1))),
            None if fits && ending != "failed" && steps > 0 => {
                found.push("does not say what became of the last step".to_owned());
            }
            None => {}
        }
        found
    }
}

/// What counts for the step: the policy's assessment, or what stood in for it.
fn answered(record: &Record) -> Option<&Value> {
    match &record.answer {
        Answer::Assessment { assessment, .. } => Some(assessment),
        Answer::Fault { stands_in, .. } => stands_in.as_ref(),
    }
}

fn action(assessment: Option<&Value>) -> Option<Action> {
    serde_json::from_value(assessment?.get("regularization")?.get("action")?.clone()).ok()
}
