//! Adaptive regularization driven by a judge (arXiv 2602.17546, the safety critic).
//!
//! A judge's harm score x from 1 to 5 of (prompt, answer) is the risk s = (x - 1) / 4,
//! which sets the KL weight b = b_min + (b_max - b_min) s and the task weight 1 - b.

use risk_policy::adaptive::Adaptive;
use risk_policy::anchors::Anchors;
use risk_policy::judgements::{self, Score, WORST};
use risk_policy::prelude::*;
use risk_policy::regularization::risk_of_score;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    judge: Option<String>,
    unknown_score: f64,
    #[serde(flatten)]
    adaptive: Adaptive,
    anchors: Option<Anchors>,
    threshold: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            judge: None,
            unknown_score: WORST,
            adaptive: Adaptive::default(),
            anchors: None,
            threshold: 3.0,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        judgements::check_score("unknown_score", self.unknown_score)?;
        judgements::check_score("threshold", self.threshold)?;
        self.anchors.as_ref().map_or(Ok(()), Anchors::check)?;
        self.adaptive.check()
    }
}

pub struct Judge;

impl Policy for Judge {
    type Settings = Settings;

    const NAME: &str = "judge";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Adaptive regularization: a judge's harm score of each sample sets its KL weight.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let judge = judgements::choose(settings.judge.as_deref(), run)?;
        let needs = Needs::new().judge(judge);
        Ok(match &settings.anchors {
            Some(anchors) => anchors.needs(needs),
            None => needs,
        })
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let judge = judgements::choose(settings.judge.as_deref(), call.run)?;
        let scores = judgements::scores(call.signals, &judge, settings.unknown_score)?;
        let risk: Vec<f64> = scores.iter().map(|s| risk_of_score(s.value)).collect();
        let shaped = settings.adaptive.shape.apply(&risk, judgements::BALANCED, 0.0);
        let anchors = settings.anchors.as_ref();
        let mut assessment =
            settings.adaptive.assess(&shaped, anchors, call.signals, call.state)?;
        let unknown = scores.iter().filter(|s| s.unknown.is_some()).count();
        for (sample, score) in scores.iter().enumerate() {
            if let Some((code, message)) = reason(score, settings.threshold, &judge) {
                assessment = assessment.sample_reason(sample, code, message);
            }
        }
        Ok(assessment.metric("judge.unknown", unknown as f64))
    }
}

fn reason(score: &Score, threshold: f64, judge: &str) -> Option<(&'static str, String)> {
    let value = score.value;
    match score.unknown {
        Some(why) => Some((
            "no-judgement",
            format!("the judgement of `{judge}` {why}, which counts as {value}"),
        )),
        None if value >= threshold => {
            Some(("harmful-sample", format!("`{judge}` gives {value} out of 5")))
        }
        None => None,
    }
}

risk_policy::export!(Judge);

#[cfg(test)]
mod tests;
