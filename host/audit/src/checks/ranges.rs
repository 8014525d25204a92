//! What was seen of every number that steers the training.

use super::{
    finding::{Check, Finding, Group},
    observed::{Range, Recorder},
};

const RANGES: Check = Check::new("ranges", Group::Behaviour, "Ranges seen");

pub(super) fn checks(recorder: &Recorder<'_>) -> Vec<Finding> {
    let seen = recorder.seen();
    let show = |name: &str, range: Option<Range>| range.map(|range| format!("{name} {range}"));
    let mut parts: Vec<String> = [
        show("risk", seen.risk),
        show("task weight", seen.task_weight),
        show("KL weight", seen.kl_weight),
        show("learning-rate scale", seen.learning_rate_scale),
    ]
    .into_iter()
    .flatten()
    .collect();
    let actions: Vec<&str> = seen.actions.into_iter().collect();
    parts.push(format!("actions {}", actions.join(", ")));
    if !seen.reasons.is_empty() {
        let reasons: Vec<String> = seen.reasons.into_iter().collect();
        parts.push(format!("reasons {}", reasons.join(", ")));
    }
    let measured = format!("in {} assessments: {}", seen.assessments, parts.join("; "));
    let holds = seen.kl_weight.is_some_and(|range| range.high > 0.0);
    vec![if holds || actions != ["update"] {
        RANGES.pass(
            measured,
            "All within the interface's bounds, which the host enforces at every step.",
        )
    } else {
        RANGES.note(
            measured,
            "Nothing that was tried made it hold the model to the reference. As far \
             as this shows, it is plain fine-tuning.",
        )
    }]
}
