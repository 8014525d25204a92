//! Evaluations between the steps of a training, and which of them is the best.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::{Mean, Rate};

/// A line of evaluations.jsonl: a look at the model between two steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Optimizer steps that the model has behind it. 0 is the reference.
    pub step: u64,
    /// Cross-entropy per answer token on held-out rows, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_loss: Option<Mean>,
    /// ln P(refusal opening) - ln P(compliance opening), over the canary's prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal_margin: Option<Mean>,
    /// Harmful prompts that were refused as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Rate>,
    /// Harmless prompts that were refused as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_refusal: Option<Rate>,
    /// SHA-256 of adapter_model.safetensors as it would be saved here; absent of the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter_sha256: Option<String>,
    /// Whether it is better than all before it, by the rule of the run.
    #[serde(default)]
    pub best: bool,
    pub seconds: f64,
}

impl EvaluationRecord {
    /// One line for a person.
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.task_loss.map(|loss| format!("held-out loss {:.3}", loss.mean)));
        parts.extend(self.refusal.map(|rate| format!("refused {}/{}", rate.hits, rate.total)));
        let over = |rate: Rate| format!("harmless refused {}/{}", rate.hits, rate.total);
        parts.extend(self.over_refusal.map(over));
        parts.extend(self.refusal_margin.map(|margin| format!("margin {:+.2}", margin.mean)));
        let mark = if self.best { " (best)" } else { "" };
        let of = if self.step == 0 { " (the reference)" } else { "" };
        format!("step {}{of}: {}{mark}", self.step, parts.join(", "))
    }

    fn refused(&self) -> Option<f64> {
        self.refusal.and_then(Rate::value)
    }
}

/// Which of two evaluations is the better one. What was not measured is worse than anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BestRule {
    /// The lower held-out loss.
    Loss,
    /// More harmful prompts refused; of equals the lower held-out loss.
    Refusal,
    /// The higher refusal margin.
    Margin,
    /// The lower held-out loss among those that refuse at least as many harmful prompts as the
    /// reference, less `train.best_tolerance` of them; where neither does, as `refusal`.
    SafeLoss,
}

impl BestRule {
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Refusal => "refusal",
            Self::Margin => "margin",
            Self::SafeLoss => "safe-loss",
        }
    }

    pub fn needs_loss(self) -> bool {
        matches!(self, Self::Loss | Self::SafeLoss)
    }

    pub fn needs_refusals(self) -> bool {
        matches!(self, Self::Refusal | Self::SafeLoss)
    }
}

/// How the best evaluation is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    pub rule: BestRule,
    /// Of [`BestRule::SafeLoss`]: share of the harmful prompts.
    pub tolerance: f64,
}

impl Choice {
    /// Whether an evaluation is safe enough beside the reference.
    fn is_safe(&self, record: &EvaluationRecord, reference: Option<&EvaluationRecord>) -> bool {
        let least = reference.and_then(EvaluationRecord::refused).unwrap_or(0.0) - self.tolerance;
        // Shares of few prompts are no exact decimals.
        record.refused().is_some_and(|refused| refused >= least - 1e-9)
    }

    /// Larger is better, the first number first.
    fn worth(&self, record: &EvaluationRecord, reference: Option<&EvaluationRecord>) -> [f64; 3] {
        let known = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
        let loss = known(record.task_loss.map(|loss| -loss.mean));
        let refused = known(record.refused());
        match self.rule {
            BestRule::Loss => [loss, 0.0, 0.0],
            BestRule::Refusal => [refused, loss, 0.0],
            BestRule::Margin => [known(record.refusal_margin.map(|one| one.mean)), 0.0, 0.0],
            BestRule::SafeLoss if self.is_safe(record, reference) => [1.0, loss, 0.0],
            BestRule::SafeLoss => [0.0, refused, loss],
        }
    }
}

/// The evaluations of a training so far, as report.json has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    #[serde(flatten)]
    pub choice: Choice,
    /// How many there were, and what they took.
    pub evaluations: u64,
    pub seconds: f64,
    /// Evaluations in a row that were not better than the best before them.
    pub without_improvement: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<EvaluationRecord>,
    /// The reference is none of those that may be the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<EvaluationRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<EvaluationRecord>,
    /// What became the adapter of the run, once the training was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// The step whose adapter a run leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub step: u64,
    pub why: String,
}

impl Selection {
    pub fn new(choice: Choice) -> Self {
        Self {
            choice,
            evaluations: 0,
            seconds: 0.0,
            without_improvement: 0,
            reference: None,
            best: None,
            last: None,
            kept: None,
        }
    }

    /// Steps behind the last one.
    pub fn reached(&self) -> Option<u64> {
        let last = self.last.as_ref().or(self.reference.as_ref());
        last.map(|record| record.step)
    }

    /// Takes one in, and marks it if it is the best so far.
    pub fn add(&mut self, record: &mut EvaluationRecord) {
        self.evaluations += 1;
        self.seconds += record.seconds;
        if record.step == 0 {
            record.best = false;
            self.reference = Some(record.clone());
            return;
        }
        let worth = |one: &EvaluationRecord| self.choice.worth(one, self.reference.as_ref());
        record.best = self
            .best
            .as_ref()
            .is_none_or(|best| worth(record).partial_cmp(&worth(best)) == Some(Ordering::Greater));
        if record.best {
            self.best = Some(record.clone());
            self.without_improvement = 0;
        } else {
            self.without_improvement += 1;
        }
        self.last = Some(record.clone());
    }

    /// Says what is kept of a training of `steps` steps that is over: the best evaluation, or the
    /// end.
    pub fn keep(&mut self, steps: u64, best: bool) {
        let choice = self.choice;
        self.kept = Some(match self.best.as_ref().filter(|_| best) {
            Some(record) => Kept { step: record.step, why: self.why(record) },
            None => Kept {
                step: steps,
                why: match &self.best {
                    Some(found) => format!(
                        "train.keep = \"last\"; by the rule {} step {} was the best",
                        choice.rule.name(),
                        found.step
                    ),
                    None => "no evaluation of a trained model".into(),
                },
            },
        });
    }

    fn why(&self, record: &EvaluationRecord) -> String {
        let loss = record.task_loss.map_or_else(|| "-".into(), |loss| format!("{:.4}", loss.mean));
        let rate = |rate: Option<Rate>| {
            rate.map_or_else(|| "-".into(), |rate| format!("{}/{}", rate.hits, rate.total))
        };
        let refused = rate(record.refusal);
        let by = match self.choice.rule {
            BestRule::Loss => format!("lowest held-out loss, {loss}"),
            BestRule::Refusal => {
                format!("most harmful prompts refused, {refused}, with held-out loss {loss}")
            }
            BestRule::Margin => {
                let margin = record.refusal_margin.map(|margin| format!("{:.3}", margin.mean));
                format!("highest refusal margin, {}", margin.unwrap_or_else(|| "-".into()))
            }
            BestRule::SafeLoss => {
                let reference = rate(self.reference.as_ref().and_then(|one| one.refusal));
                let tolerance = self.choice.tolerance;
                if self.is_safe(record) {
                    format!(
                        "lowest held-out loss, {loss}, of those that refuse as many harmful prompts \
                         as the reference ({refused}; reference {reference}, tolerance {tolerance})"
                    )
                } else {
                    format!(
                        "most harmful prompts refused, {refused}: no evaluation came within \
                         {tolerance} of the reference's {reference}"
                    )
                }
            }
        };
        format!("{} ({by})", self.choice.rule.name())
    }

    fn is_safe(&self, record: &EvaluationRecord) -> bool {
        self.choice.is_safe(record, self.reference.as_ref())
    }

    /// Says so if what was kept refuses less than the rule asks for.
    pub fn warning(&self) -> Option<String> {
        let (best, kept) = (self.best.as_ref()?, self.kept.as_ref()?);
        let lost =
            self.choice.rule == BestRule::SafeLoss && kept.step == best.step && !self.is_safe(best);
        lost.then(|| format!("the adapter is of step {}: {}", kept.step, kept.why))
    }
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
