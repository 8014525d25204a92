//! Plain fine-tuning without the samples that a judge scores as harmful: the baseline
//! of filtering the data first.

use risk_policy::judgements::{self, WORST};
use risk_policy::prelude::*;
use risk_policy::regularization::risk_of_score;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    judge: Option<String>,
    threshold: f64,
    unknown_score: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { judge: None, threshold: 2.0, unknown_score: WORST }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        judgements::check_score("threshold", self.threshold)?;
        judgements::check_score("unknown_score", self.unknown_score)
    }
}

pub struct GuardFilter;

impl Policy for GuardFilter {
    type Settings = Settings;

    const NAME: &str = "guard-filter";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Plain fine-tuning without the samples whose harm score is above a threshold.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let judge = judgements::choose(settings.judge.as_deref(), run)?;
        Ok(Needs::new().judge(judge))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let judge = judgements::choose(settings.judge.as_deref(), call.run)?;
        let scores = judgements::scores(call.signals, &judge, settings.unknown_score)?;
        let dropped: Vec<bool> =
            scores.iter().map(|score| score.value > settings.threshold).collect();
        let risk = scores.iter().map(|s| risk_of_score(s.value)).collect();
        let mut assessment = Assessment::new(risk, regularization(&dropped));
        for (sample, score) in scores.iter().enumerate().filter(|(i, _)| dropped[*i]) {
            let message = match score.unknown {
                Some(why) => format!("left out: the judgement of `{judge}` {why}"),
                None => format!("left out: `{judge}` gives {} out of 5", score.value),
            };
            assessment = assessment.sample_reason(sample, "dropped", message);
        }
        let count = dropped.iter().filter(|dropped| **dropped).count();
        Ok(assessment.metric("dropped", count as f64))
    }
}

/// With nothing left the step is skipped: an update without a gradient would still
/// move the parameters by the optimizer's momentum.
fn regularization(dropped: &[bool]) -> Regularization {
    let task: Vec<f64> = dropped.iter().map(|dropped| if *dropped { 0.0 } else { 1.0 }).collect();
    let weights = Regularization::weights(task, vec![0.0; dropped.len()]);
    if dropped.contains(&false) { weights } else { weights.action(Action::Skip) }
}

risk_policy::export!(GuardFilter);

#[cfg(test)]
mod tests;
