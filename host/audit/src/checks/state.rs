//! The bytes that a policy carries from step to step.

use super::{
    SAMPLES,
    finding::{Check, Finding, Group},
    observed::Recorder,
};
use crate::synthetic::Step;
use host_contract::Assessment;
use host_sandbox::{Assessed, Error, Result};

const ROUND: Check = Check::new("state-round-trip", Group::State, "State goes round");
const GROWTH: Check = Check::new("state-growth", Group::State, "Size of the state");
const DAMAGED: Check = Check::new("state-damaged", Group::State, "Damaged state");

const STEPS: u64 = 200;
/// Single bytes that are turned over, at most.
const FLIPS: usize = 32;

pub(super) fn checks(recorder: &Recorder<'_>) -> Vec<Finding> {
    let (state, sizes) = match run(recorder) {
        Ok(carried) => carried,
        Err((step, error)) => {
            return vec![ROUND.fail(
                format!("step {step}: {error}"),
                "The policy fails on a state that it returned itself; a run would end there.",
            )];
        }
    };
    let round = if sizes.iter().all(|size| *size == 0) {
        ROUND.pass(
            format!("no state over {STEPS} steps"),
            "The policy remembers nothing, so the order of steps means nothing to it.",
        )
    } else {
        ROUND.pass(
            format!("{STEPS} steps, each with the state of the one before"),
            "What it remembers is in the state alone, which is saved and journalled.",
        )
    };
    vec![
        round,
        growth(&sizes, recorder.subject.policy.limits().state_bytes),
        damaged(recorder, &state).unwrap_or_else(|error| DAMAGED.broken(&error)),
    ]
}

fn step(number: u64) -> Step {
    let level = (number % 11) as f64 / 10.0;
    let mut step = Step::of(SAMPLES, level);
    step.step = number;
    for row in &mut step.rows {
        row.key += number * SAMPLES as u64;
    }
    step
}

/// The last state, and the size after each step.
fn run(recorder: &Recorder<'_>) -> std::result::Result<(Vec<u8>, Vec<usize>), (u64, Error)> {
    let (mut state, mut sizes) = (Vec::new(), Vec::new());
    for number in 0..STEPS {
        let assessed = recorder.assess(&step(number), &state);
        state = assessed.map_err(|error| (number, error))?.assessment.state;
        sizes.push(state.len());
    }
    Ok((state, sizes))
}

fn growth(sizes: &[usize], allowed: u64) -> Finding {
    let at = |step: usize| sizes[step - 1];
    let (early, half, last) = (at(sizes.len() / 4), at(sizes.len() / 2), at(sizes.len()));
    let measured = format!(
        "{early} bytes after {} steps, {half} after {}, {last} after {}",
        sizes.len() / 4,
        sizes.len() / 2,
        sizes.len()
    );
    if !(early < half && half < last) {
        return GROWTH.pass(measured, "It does not grow with the length of a run.");
    }
    let per_step = (last - half) as f64 / (sizes.len() / 2) as f64;
    let steps = allowed as f64 / per_step;
    GROWTH.note(
        format!("{measured}: it meets the limit of {allowed} bytes after about {steps:.0} steps"),
        "The state grows with every step; a run that is long enough ends at the limit.",
    )
}

/// How states that nobody returned were taken.
#[derive(Default)]
struct Taken {
    refused: usize,
    /// Answered as without any state.
    ignored: usize,
    /// Answered as with the true state.
    harmless: usize,
    changed: usize,
    faults: Vec<String>,
}

fn damaged(recorder: &Recorder<'_>, state: &[u8]) -> Result<Finding> {
    let next = step(STEPS);
    let without = recorder.assess(&next, &[])?.assessment;
    let with = recorder.assess(&next, state)?.assessment;
    let mut taken = Taken::default();
    for bytes in damages(state) {
        taken.count(recorder.assess(&next, &bytes), &without, &with);
    }
    Ok(taken.finding())
}

/// Rubbish, cuts, and single bytes turned over.
fn damages(state: &[u8]) -> Vec<Vec<u8>> {
    let mut damages = vec![vec![0xff; 64], vec![0], b"not a state".to_vec()];
    if state.is_empty() {
        return damages;
    }
    damages.push(state[..state.len() / 2].to_vec());
    damages.push(state[..state.len() - 1].to_vec());
    damages.push([state, &[0]].concat());
    for at in (0..state.len()).step_by(state.len().div_ceil(FLIPS)) {
        let mut flipped = state.to_vec();
        flipped[at] ^= 0xff;
        damages.push(flipped);
    }
    damages.retain(|one| one != state);
    damages
}

impl Taken {
    fn count(&mut self, answer: Result<Assessed>, without: &Assessment, with: &Assessment) {
        match answer {
            Err(Error::Refused { .. }) => self.refused += 1,
            Err(error) => self.faults.push(error.to_string()),
            Ok(assessed) if same(&assessed.assessment, without) => self.ignored += 1,
            Ok(assessed) if same(&assessed.assessment, with) => self.harmless += 1,
            Ok(_) => self.changed += 1,
        }
    }

    fn finding(&self) -> Finding {
        let total = self.refused + self.ignored + self.harmless + self.changed + self.faults.len();
        let mut parts = Vec::new();
        for (count, what) in [
            (self.refused, "refused"),
            (self.ignored, "taken for no state"),
            (self.harmless, "without effect"),
            (self.changed, "taken, with another answer"),
            (self.faults.len(), "ended in a fault"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let mut measured = format!("of {total} damaged states: {}", parts.join(", "));
        if let Some(fault) = self.faults.first() {
            measured.push_str(&format!(" ({fault})"));
        }
        match (self.faults.is_empty(), self.changed) {
            (true, 0) => DAMAGED
                .pass(measured, "A state that was damaged on disk is noticed, or changes nothing."),
            (true, _) => DAMAGED.note(
                measured,
                "Some damage goes unnoticed and changes what the policy does. The \
                 host keeps the state's sha256 in the journal, which shows it \
                 afterwards.",
            ),
            (false, _) => DAMAGED.note(
                measured,
                "It fails on a damaged state instead of refusing it. The run stops \
                 before the update either way.",
            ),
        }
    }
}

/// What the policy does; the state that it returns is not part of that.
fn same(a: &Assessment, b: &Assessment) -> bool {
    a.risk == b.risk && a.regularization == b.regularization
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Verdict;

    #[test]
    fn a_state_that_grows_at_every_step_is_noted_with_its_end() {
        let growing: Vec<usize> = (1..=200).map(|step| 8 * step).collect();
        let finding = growth(&growing, 1 << 20);
        assert_eq!(finding.verdict, Verdict::Note);
        assert!(finding.measured.contains("after about 131072 steps"), "{}", finding.measured);
        assert_eq!(growth(&[16; 200], 1 << 20).verdict, Verdict::Pass);
        let window: Vec<usize> = (1..=200).map(|step: usize| step.min(60)).collect();
        assert_eq!(growth(&window, 1 << 20).verdict, Verdict::Pass);
    }

    #[test]
    fn damages_differ_from_the_state() {
        for length in [0, 1, 2, 33, 1000] {
            let state: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let damages = damages(&state);
            assert!(damages.iter().all(|one| *one != state));
            assert!(damages.len() <= 6 + FLIPS, "{}", damages.len());
        }
    }
}
