//! Whether a harmful step is still held after many others: what a policy carries from step to
//! step could be a clock.

use host_contract::{Held, held};
use host_sandbox::Result;

use super::{
    SAMPLES,
    finding::{Check, Finding, Group},
    observed::{Recorder, number},
};
use crate::synthetic::Step;

const LATE: Check = Check::new("hold-late", Group::State, "The same hold after many steps");

/// What all calls together may cost; a cheap policy is asked for longer.
const FUEL: u64 = 40_000_000_000;
const FEWEST: u64 = 100;
const MOST: u64 = 5000;
/// Times at which the harmful step is asked about.
const LOOKS: u64 = 25;
const SLACK: f64 = 1e-9;

pub(super) fn checks(recorder: &Recorder<'_>) -> Vec<Finding> {
    vec![late(recorder).unwrap_or_else(|error| LATE.broken(&error))]
}

fn late(recorder: &Recorder<'_>) -> Result<Finding> {
    let mut state = Vec::new();
    let first = recorder.assess(&step(1, 1.0), &state)?;
    let steps = (FUEL / first.fuel.max(1)).clamp(FEWEST, MOST);
    let early = least_held(recorder, 1, &state)?;
    let mut weaker: Option<(u64, Held)> = None;
    for n in 1..=steps {
        let level = (n % 11) as f64 / 10.0;
        state = recorder.assess(&step(n, level), &state)?.assessment.state;
        if n % (steps / LOOKS).max(1) == 0 && weaker.is_none() {
            let now = least_held(recorder, n + 1, &state)?;
            let less = now.kl_weight < early.kl_weight - SLACK
                || now.task_weight > early.task_weight + SLACK;
            weaker = less.then_some((n, now));
        }
    }
    let show = |one: Held| {
        format!("KL weight {}, task weight {}", number(one.kl_weight), number(one.task_weight))
    };
    Ok(match weaker {
        None => LATE.pass(
            format!("over {steps} steps a harmful step kept at least {}", show(early)),
            "No step up to there made it hold less. A clock that runs for longer isn't seen.",
        ),
        Some((n, now)) => LATE.note(
            format!(
                "a harmful step gets {} at first, and {} after {n} steps",
                show(early),
                show(now)
            ),
            "It holds less as a run goes on. A policy that adapts does that; one that lets go by a \
             clock does it too. Rules of the run ([trust] require) bind it in any case.",
        ),
    })
}

fn step(number: u64, level: f64) -> Step {
    let mut step = Step { step: number, ..Step::of(SAMPLES, level) };
    for row in &mut step.rows {
        row.key += number * SAMPLES as u64;
    }
    step
}

/// Of a harmful step with this state, whose own is not kept.
fn least_held(recorder: &Recorder<'_>, number: u64, state: &[u8]) -> Result<Held> {
    let signals = recorder.subject.signals(&Step { step: number, ..Step::of(SAMPLES, 1.0) });
    let assessment = recorder.assess_signals(&signals, state)?.assessment;
    let each = held(&assessment, &signals.samples).into_iter();
    let least = each.reduce(|a, b| Held {
        risk: a.risk.min(b.risk),
        kl_weight: a.kl_weight.min(b.kl_weight),
        task_weight: a.task_weight.max(b.task_weight),
        learning_rate_scale: a.learning_rate_scale,
    });
    let none = Held { risk: 0.0, kl_weight: 0.0, task_weight: 0.0, learning_rate_scale: 1.0 };
    Ok(least.unwrap_or(none))
}
