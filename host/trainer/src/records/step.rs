//! One line of metrics.jsonl, and what the next step gets to see of it.

use std::collections::BTreeMap;
use std::time::Duration;

use host_contract::{Action, AnchorSignals, Judgement, Outcome};
use host_data::{Origin, Sample};
use host_eval::report::Totals;
use host_judges::Tally;
use serde::Serialize;

use crate::error::Result;
use crate::policies::{StepDecision, applies};
use crate::ranks::Ranks;

/// What happened in one optimizer step. Means are over the answer tokens of the
/// step (losses) or over its samples (risk, weights).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StepRecord {
    pub step: u64,
    #[serde(skip)]
    pub total: u64,
    /// The objective that was minimised.
    pub loss: f64,
    /// Cross-entropy per answer token, unweighted.
    pub task_loss: f64,
    /// KL(reference || current) per answer token it was computed for.
    pub kl: Option<f64>,
    pub risk: Option<f64>,
    pub max_risk: Option<f64>,
    pub task_weight: f64,
    pub kl_weight: f64,
    /// After schedule and policy; 0 if the step was not applied.
    pub learning_rate: f64,
    /// L2 norm before clipping.
    pub gradient_norm: f64,
    pub samples: usize,
    /// Of these, samples of the alignment data.
    pub alignment_samples: usize,
    pub tokens: usize,
    pub answer_tokens: usize,
    pub seconds: f64,
    pub tokens_per_second: f64,
    /// Of `seconds`: signals, calls of all policies, journal.
    pub policy_milliseconds: Option<f64>,
    pub policy_fuel: Option<u64>,
    /// Policies that failed and were replaced by the strictest assessment.
    pub policy_faults: usize,
    /// What the policies asked for in place of an update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// Judgements that were no score, of all judges.
    #[serde(skip_serializing_if = "is_zero")]
    pub unjudged: usize,
    /// Adapted matrices that were projected, if a policy asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projected: Option<usize>,
    /// Mean divergence of the harmful safety anchors that the step visited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor_harmful: Option<f64>,
    /// Likewise of the harmless ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor_harmless: Option<f64>,
    /// Tokens of the anchors' forward.
    #[serde(skip_serializing_if = "is_zero")]
    pub anchor_tokens: usize,
    /// Why the update was not applied, if a number was not finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_applied: Option<String>,
    /// What each judge said of the samples.
    #[serde(skip)]
    judged: BTreeMap<String, Tally>,
    /// Samples that teach nothing of the task.
    #[serde(skip)]
    untaught: usize,
    #[serde(skip)]
    kl_sum: f64,
    #[serde(skip)]
    kl_tokens: usize,
    #[serde(skip)]
    task_sum: f64,
    #[serde(skip)]
    task_tokens: usize,
}

impl StepRecord {
    pub fn new(
        step: u64,
        total: u64,
        samples: &[&Sample],
        decision: Option<&StepDecision>,
    ) -> Self {
        let alignment = samples.iter().filter(|sample| sample.origin == Origin::Alignment);
        let mut record = Self {
            step,
            total,
            samples: samples.len(),
            alignment_samples: alignment.count(),
            answer_tokens: samples.iter().map(|sample| sample.answer_tokens()).sum(),
            task_weight: 1.0,
            ..Self::default()
        };
        if let Some(decision) = decision {
            let assessment = &decision.assessment;
            record.risk = Some(mean(&assessment.risk));
            record.max_risk = Some(assessment.risk.iter().copied().fold(0.0, f64::max));
            record.task_weight = mean(&assessment.regularization.task_weight);
            record.kl_weight = mean(&assessment.regularization.kl_weight);
            record.policy_milliseconds = Some(decision.elapsed().as_secs_f64() * 1e3);
            record.policy_fuel = Some(decision.fuel());
            record.policy_faults = decision.faults().count();
            let action = assessment.regularization.action;
            record.action = (action != Action::Update).then(|| action.name());
            record.untaught = if applies(action) {
                let weights = assessment.regularization.task_weight.iter();
                weights.filter(|weight| **weight == 0.0).count()
            } else {
                samples.len()
            };
            record.judged = judged(decision);
            record.unjudged = record.judged.values().map(Tally::unscored).sum();
        }
        record
    }

    /// Adds the objective of a micro-batch, and per answer token its cross-entropy and, if
    /// it was computed, its KL.
    pub fn add(&mut self, loss: f64, task: &[f32], kl: Option<&[f32]>) {
        let sum = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>();
        self.loss += loss;
        self.task_sum += sum(task);
        self.task_tokens += task.len();
        if let Some(kl) = kl {
            self.kl_sum += sum(kl);
            self.kl_tokens += kl.len();
        }
    }

    /// Takes over what another record has added and summed.
    pub fn take_losses(&mut self, other: Self) {
        self.loss += other.loss;
        (self.task_sum, self.task_tokens) = (other.task_sum, other.task_tokens);
        (self.kl_sum, self.kl_tokens) = (other.kl_sum, other.kl_tokens);
    }

    /// Takes note of a visit of safety anchors.
    pub fn visited(&mut self, seen: Option<&AnchorSignals>, tokens: usize) {
        let Some(seen) = seen else { return };
        let of = |kind: bool| {
            let both = seen.harmful.iter().zip(&seen.divergence);
            let values = both.filter(|(harmful, _)| **harmful == kind).map(|(_, value)| *value);
            let values: Vec<f64> = values.collect();
            (!values.is_empty()).then(|| mean(&values))
        };
        (self.anchor_harmful, self.anchor_harmless) = (of(true), of(false));
        self.anchor_tokens = tokens;
    }

    /// From this rank's share to the whole step.
    pub fn sum(&mut self, ranks: &Ranks) -> Result<()> {
        let [loss, task_sum, task_tokens, kl_sum, kl_tokens] = ranks.totals([
            self.loss,
            self.task_sum,
            self.task_tokens as f64,
            self.kl_sum,
            self.kl_tokens as f64,
        ])?;
        (self.loss, self.task_sum, self.kl_sum) = (loss, task_sum, kl_sum);
        (self.task_tokens, self.kl_tokens) = (task_tokens as usize, kl_tokens as usize);
        Ok(())
    }

    pub fn close(&mut self, elapsed: Duration, tokens: usize) {
        self.task_loss = self.task_sum / self.task_tokens.max(1) as f64;
        self.kl = (self.kl_tokens > 0).then(|| self.kl_sum / self.kl_tokens as f64);
        self.tokens = tokens;
        self.seconds = elapsed.as_secs_f64();
        self.tokens_per_second = tokens as f64 / self.seconds.max(1e-9);
    }

    /// The task loss, if the step computed one that counts.
    pub fn known_task_loss(&self) -> Option<f64> {
        let known = self.task_tokens > 0 && self.not_applied.is_none();
        Some(self.task_loss).filter(|loss| known && loss.is_finite())
    }

    pub fn outcome(&self, action: Action) -> Outcome {
        if self.not_applied.is_some() {
            // As of a step that was skipped: what was not finite has no place in signals.
            return Outcome {
                step: self.step,
                action: Action::Skip,
                task_loss: 0.0,
                kl: None,
                gradient_norm: 0.0,
                learning_rate: 0.0,
            };
        }
        Outcome {
            step: self.step,
            action,
            task_loss: self.task_loss,
            kl: self.kl,
            gradient_norm: self.gradient_norm,
            learning_rate: self.learning_rate,
        }
    }
}

/// Adds a step to the totals of its training.
pub fn add_step(totals: &mut Totals, record: &StepRecord) {
    totals.steps = record.step + 1;
    totals.seconds += record.seconds;
    totals.policy_faults += record.policy_faults;
    totals.not_applied += u64::from(record.not_applied.is_some());
    let skipped = [Action::Skip, Action::RollBack].map(Action::name);
    totals.skipped += u64::from(record.action.is_some_and(|action| skipped.contains(&action)));
    totals.samples += record.samples as u64;
    totals.untaught += record.untaught as u64;
    for (name, tally) in &record.judged {
        totals.judges.entry(name.clone()).or_default().add(tally);
    }
    let highest = totals.learning_rate.unwrap_or(0.0).max(record.learning_rate);
    totals.learning_rate = Some(highest);
    if let Some(milliseconds) = record.policy_milliseconds {
        *totals.policy_seconds.get_or_insert(0.0) += milliseconds / 1e3;
    }
}

/// What each judge said of the samples of a step, whichever policies asked it.
fn judged(decision: &StepDecision) -> BTreeMap<String, Tally> {
    let mut whole: BTreeMap<&str, &[Judgement]> = BTreeMap::new();
    let mut cut = BTreeMap::new();
    for signals in decision.answers.iter().map(|answer| &answer.signals) {
        whole.extend(signals.judges.iter().map(|one| (one.judge.as_str(), &one.judgements[..])));
        cut.extend(signals.prefixes.iter().map(|one| (one.judge.as_str(), &one.judgements[..])));
    }
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (name, judgements) in whole.into_iter().chain(cut) {
        let tally = tallies.entry(name.to_owned()).or_default();
        judgements.iter().for_each(|judgement| tally.count(judgement.status));
    }
    tallies
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
