//! What a run contributes: up to three models, each with what it depends on.

use std::collections::BTreeMap;

use super::{Outcomes, Run};
use crate::evaluation::Evaluation;
use crate::report::Trained;

/// One model of one run.
pub(super) struct Member<'r> {
    pub run: &'r Run,
    pub stage: Stage,
    pub name: String,
    /// All that its numbers depend on but the seed.
    pub facts: BTreeMap<&'r str, &'r str>,
    pub evaluation: Option<&'r Evaluation>,
    pub trained: Option<&'r Trained>,
    pub outcomes: Option<&'r Outcomes>,
}

/// In the order of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The model before any step.
    Before,
    /// Fine-tuned without a policy.
    Plain,
    /// Fine-tuned under policies.
    Policy,
}

pub(super) fn members(runs: &[Run]) -> Vec<Member<'_>> {
    runs.iter().flat_map(of).collect()
}

fn of(run: &Run) -> Vec<Member<'_>> {
    let report = &run.report;
    let last = match report.policy {
        Some(_) => Stage::Policy,
        None => Stage::Plain,
    };
    let member = |stage: Stage, evaluation, trained| {
        let facts = run.facts.iter();
        let facts = facts.filter(|(key, _)| stage.depends_on(key));
        let label = match (stage, last) {
            (Stage::Before, _) => "before",
            (Stage::Plain, Stage::Policy) => "plain",
            _ => "after",
        };
        Member {
            run,
            stage,
            name: stage.name(report.policy.as_deref()),
            facts: facts.map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            evaluation,
            trained,
            outcomes: run.outcomes.get(label),
        }
    };
    let all = [
        (Stage::Before, report.before.as_ref(), None),
        (Stage::Plain, report.baseline_after.as_ref(), report.baseline.as_ref()),
        (last, report.after.as_ref(), report.trained.as_ref()),
    ];
    all.into_iter()
        .filter(|(_, evaluation, trained)| evaluation.is_some() || trained.is_some())
        .map(|(stage, evaluation, trained)| member(stage, evaluation, trained))
        .collect()
}

/// Keys that change no number: where things are, and what is kept or shown.
const WITHOUT_EFFECT: [&str; 9] = [
    "seed",
    "output",
    "checkpoints.",
    "journal.",
    "trust.require_signature",
    "train.baseline",
    "train.reference_cache",
    "limits.",
    "eval.batch",
];

impl Stage {
    fn name(self, policy: Option<&str>) -> String {
        match self {
            Self::Before => "before".into(),
            Self::Plain => "plain fine-tuning".into(),
            Self::Policy => policy.unwrap_or("policy").into(),
        }
    }

    pub(super) fn depends_on(self, key: &str) -> bool {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
        // A policy is what its digest says; a calibration belongs to a seed.
        let is_place = key.starts_with("policy.")
            && [".path", ".sha256", ".calibration"].iter().any(|end| key.ends_with(end));
        if starts(&WITHOUT_EFFECT) || is_place {
            return false;
        }
        match self {
            Self::Before => starts(&["model.", "eval.", "canary.", "judges."]),
            Self::Plain => !starts(&["policy.", "policies.", "calibration.", "trust."]),
            Self::Policy => true,
        }
    }
}
