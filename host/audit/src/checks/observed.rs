//! Keeps the extremes of everything that a policy answers while it is audited.

use std::{cell::RefCell, collections::BTreeSet};

use crate::synthetic::{Step, Subject};
use host_contract::{RunInfo, Signals};
use host_sandbox::{Assessed, Call, Result};

/// A subject, and what was seen of it.
pub(super) struct Recorder<'a> {
    pub subject: &'a Subject<'a>,
    seen: RefCell<Observed>,
}

/// Over all assessments of an audit.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    pub assessments: u64,
    pub risk: Option<Range>,
    pub task_weight: Option<Range>,
    pub kl_weight: Option<Range>,
    pub learning_rate_scale: Option<Range>,
    pub actions: BTreeSet<&'static str>,
    pub reasons: BTreeSet<String>,
    pub memory_bytes: u64,
}

/// Smallest and largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub low: f64,
    pub high: f64,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(subject: &'a Subject<'a>) -> Self {
        Self { subject, seen: RefCell::default() }
    }

    pub(super) fn assess(&self, step: &Step, state: &[u8]) -> Result<Assessed> {
        self.assess_signals(&self.subject.signals(step), state)
    }

    pub(super) fn assess_signals(&self, signals: &Signals, state: &[u8]) -> Result<Assessed> {
        let assessed = self.subject.assess(signals, state)?;
        self.seen.borrow_mut().add(&assessed);
        Ok(assessed)
    }

    /// The same signals in another run.
    pub(super) fn assess_in(
        &self,
        run: &RunInfo,
        signals: &Signals,
        state: &[u8],
    ) -> Result<Assessed> {
        let call = Call { run, ..self.subject.call(signals, state) };
        let assessed = self.subject.policy.assess(call)?;
        self.seen.borrow_mut().add(&assessed);
        Ok(assessed)
    }

    pub(super) fn seen(&self) -> Observed {
        self.seen.borrow().clone()
    }
}

impl Observed {
    fn add(&mut self, assessed: &Assessed) {
        let one = &assessed.assessment;
        let r = &one.regularization;
        self.assessments += 1;
        widen(&mut self.risk, one.risk.iter().copied());
        widen(&mut self.task_weight, r.task_weight.iter().copied());
        widen(&mut self.kl_weight, r.kl_weight.iter().copied());
        widen(&mut self.learning_rate_scale, [r.learning_rate_scale]);
        self.actions.insert(r.action.name());
        let codes = one.reasons.iter().map(|reason| reason.code.clone());
        self.reasons.extend(codes);
        self.memory_bytes = self.memory_bytes.max(assessed.memory_bytes);
    }
}

impl Range {
    /// Whether all values were the same.
    pub(super) fn is_constant(self) -> bool {
        self.low == self.high
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_constant() {
            write!(f, "always {}", number(self.low))
        } else {
            write!(f, "{} to {}", number(self.low), number(self.high))
        }
    }
}

/// Four digits: exact enough for a person, who compares and does not compute.
pub(super) fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 {
        format!("{value:.1e}")
    } else {
        format!("{}", (value * 1e4).round() / 1e4)
    }
}

pub(super) fn widen(range: &mut Option<Range>, values: impl IntoIterator<Item = f64>) {
    for value in values {
        let known = range.get_or_insert(Range { low: value, high: value });
        known.low = known.low.min(value);
        known.high = known.high.max(value);
    }
}
