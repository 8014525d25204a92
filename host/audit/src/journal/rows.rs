//! What a journal says of the rows that were trained on, and of the reasons that policies gave.

use std::collections::{BTreeMap, HashMap};

use host_contract::Origin;
use serde::Serialize;

use super::entry::{Answer, without_state};
use super::reader::Journal;

/// What became of one row over all steps that it was in: by the combination of all policies, where
/// there are several.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowRecord {
    /// The content id of the row; see `host_data::content_id`.
    pub id: u64,
    /// Which data it is of.
    pub origin: Origin,
    /// Steps that it was in.
    pub times: u64,
    /// Mean of its risks, each in [0, 1].
    pub risk: f64,
    /// The highest of them.
    pub highest_risk: f64,
    /// The first and the last of them.
    pub first_risk: f64,
    /// See `first_risk`.
    pub last_risk: f64,
    /// Mean of its weights in the task's loss.
    pub task_weight: f64,
    /// Mean of its weights in the KL term.
    pub kl_weight: f64,
    /// The first step that it was in, counted from 0.
    pub first_step: u64,
}

/// How often a policy gave a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    /// The policy.
    pub policy: String,
    /// Its code for the reason.
    pub code: String,
    /// How often.
    pub times: u64,
    /// Its words at the first time.
    pub first: String,
}

impl Journal {
    /// The rows, the riskiest first.
    pub fn rows(&self) -> Vec<RowRecord> {
        let mut rows: HashMap<u64, RowRecord> = HashMap::new();
        for step in self.by_step() {
            let (Some(record), Some(assessment)) = (step.records.first(), step.assessment()) else {
                continue;
            };
            let weights = &assessment.regularization;
            let weights = weights.task_weight.iter().zip(&weights.kl_weight);
            let samples = record.signals.signals.samples.iter();
            for ((sample, risk), (task, kl)) in samples.zip(&assessment.risk).zip(weights) {
                let row = rows.entry(sample.id).or_insert_with(|| RowRecord {
                    id: sample.id,
                    origin: sample.origin,
                    times: 0,
                    risk: 0.0,
                    highest_risk: 0.0,
                    first_risk: *risk,
                    last_risk: *risk,
                    task_weight: 0.0,
                    kl_weight: 0.0,
                    first_step: record.step,
                });
                row.times += 1;
                let share = 1.0 / row.times as f64;
                let join = |mean: &mut f64, value: f64| *mean += (value - *mean) * share;
                join(&mut row.risk, *risk);
                join(&mut row.task_weight, *task);
                join(&mut row.kl_weight, *kl);
                row.highest_risk = row.highest_risk.max(*risk);
                row.last_risk = *risk;
            }
        }
        let mut rows: Vec<RowRecord> = rows.into_values().collect();
        rows.sort_by(|a, b| b.risk.total_cmp(&a.risk).then(a.id.cmp(&b.id)));
        rows
    }

    /// Every reason that a policy gave, the most frequent first.
    pub fn reasons(&self) -> Vec<ReasonCount> {
        let mut counts: BTreeMap<(usize, String), (u64, String)> = BTreeMap::new();
        for record in self.by_step().iter().flat_map(|step| &step.records) {
            let Answer::Assessment { assessment, .. } = &record.answer else { continue };
            let Ok(assessment) = without_state(assessment) else { continue };
            for reason in assessment.reasons {
                let key = (record.policy, reason.code);
                counts.entry(key).or_insert((0, reason.message)).0 += 1;
            }
        }
        let name = |policy: usize| self.run.policies.get(policy).map(|slot| slot.name.clone());
        let counts = counts.into_iter().map(|((policy, code), (times, first))| ReasonCount {
            policy: name(policy).unwrap_or_default(),
            code,
            times,
            first,
        });
        let mut counts: Vec<ReasonCount> = counts.collect();
        counts.sort_by_key(|one| std::cmp::Reverse(one.times));
        counts
    }

    /// Assessments in place of which a policy failed.
    pub fn faults(&self) -> u64 {
        let steps = self.by_step();
        let records = steps.iter().flat_map(|step| &step.records);
        records.filter(|record| matches!(record.answer, Answer::Fault { .. })).count() as u64
    }
}
