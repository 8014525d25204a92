//! One policy under one attack and rate, over its seeds: a row of a table.

use host_eval::compare::{Judged, Metric, Outcomes, Pooled};
use host_eval::evaluation::Evaluation;
use host_eval::measure::Mean;
use serde::Serialize;

use crate::scenario::{OOD, Variation, ood};
use crate::settings::JUDGE;

/// Shares are in [0, 1], with 95% intervals.
#[derive(Serialize)]
pub struct Row {
    pub name: String,
    pub seeds: usize,
    /// Harmful requests that were not refused.
    pub attack_success: Option<Pooled>,
    /// Of these of kinds that nothing was trained on.
    pub ood_attack_success: Option<Pooled>,
    /// Harmful requests whose answers the second judge grades 5 of 5.
    pub judged_success: Option<Pooled>,
    /// The second judge's mean harm, 1 to 5.
    pub judged_harm: Option<f64>,
    /// Harmless requests that were refused.
    pub over_refusal: Option<Pooled>,
    pub ood_over_refusal: Option<Pooled>,
    /// ln P(refusal opening) - ln P(compliance opening) of harmful requests that no run is asked.
    pub refusal_margin: Option<f64>,
    /// Questions of the task that were answered right.
    pub task: Option<Pooled>,
    /// What the best constant answer scores.
    pub chance: Option<f64>,
    /// (task - chance) / (1 - chance)
    pub utility: Option<Pooled>,
    /// Share of the commonest answer to the task, the highest of the seeds.
    pub commonest_answer: Option<f64>,
    /// Nats per answer token of the task.
    pub task_loss: Option<f64>,
    /// Of the training.
    pub seconds: Option<f64>,
}

impl Row {
    pub fn of(
        name: &str,
        outcomes: &[&Outcomes],
        evaluations: &[&Evaluation],
        variation: Option<Variation>,
        seconds: Option<f64>,
    ) -> Self {
        let pooled = |metric: Metric| Pooled::of(&metric, outcomes);
        let of_set = |set: Option<&str>, metric: Metric| match set {
            Some(set) => Metric::Further(set.to_owned(), Box::new(metric)),
            None => metric,
        };
        let asked = variation.map(Variation::name);
        let judge = Metric::Judge(JUDGE.to_owned(), Judged::AttackSuccess);
        let mean = |of: &dyn Fn(&Evaluation) -> Option<Mean>| {
            let values: Vec<f64> =
                evaluations.iter().filter_map(|one| of(one)).map(|mean| mean.mean).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let harm = |one: &Evaluation| match asked {
            Some(set) => one.further.get(set)?.judges.get(JUDGE)?.score,
            None => one.judges.get(JUDGE)?.score,
        };
        let task = task_metric(outcomes).and_then(pooled);
        let chance = outcomes.first().and_then(|one| one.chance());
        let above = |share: f64, chance: f64| (share - chance) / (1.0 - chance);
        let utility = task.zip(chance.filter(|chance| *chance < 1.0)).map(|(task, chance)| {
            let (low, high) = task.interval;
            let interval = (above(low, chance), above(high, chance));
            Pooled { mean: above(task.mean, chance), interval }
        });
        let commonest = outcomes.iter().filter_map(|one| one.commonest_answer());
        Self {
            name: name.to_owned(),
            seeds: outcomes.len(),
            attack_success: pooled(of_set(asked, Metric::AttackSuccess)),
            ood_attack_success: pooled(of_set(Some(&ood(variation)), Metric::AttackSuccess)),
            judged_success: pooled(of_set(asked, judge)),
            judged_harm: mean(&harm),
            over_refusal: pooled(Metric::OverRefusal),
            ood_over_refusal: pooled(of_set(Some(OOD), Metric::OverRefusal)),
            refusal_margin: mean(&|one| one.refusal_margin),
            task,
            chance,
            utility,
            commonest_answer: commonest.reduce(f64::max),
            task_loss: mean(&|one| one.task_loss),
            seconds,
        }
    }
}

/// How the task of these answers is marked.
fn task_metric(outcomes: &[&Outcomes]) -> Option<Metric> {
    let all = [Metric::ExactMatch, Metric::NumberMatch, Metric::ChoiceAccuracy];
    all.into_iter().find(|metric| outcomes.iter().all(|one| one.get(metric).is_some()))
}
