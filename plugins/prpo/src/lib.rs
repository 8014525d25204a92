//! Proximal ranking policy optimization (arXiv 2409.09881; for safety 2407.19943): the
//! probability of an answer relative to the reference grows up to a clip if the answer is
//! harmless, and falls down to one if it is harmful. Beyond it the gradient leads back.

use risk_policy::assessment::{largest, mean};
use risk_policy::judgements::{self, Score, WORST};
use risk_policy::prelude::*;
use risk_policy::regularization::risk_of_score;
use risk_policy::settings::invalid;

/// What a ratio is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    Token,
    Answer,
}

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    judge: Option<String>,
    unknown_score: f64,
    threshold: f64,
    low: f64,
    high: f64,
    unit: Unit,
    variance_penalty: f64,
    beyond: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            judge: None,
            unknown_score: WORST,
            threshold: 3.0,
            low: 0.1,
            high: 10.0,
            unit: Unit::Token,
            variance_penalty: 0.0,
            beyond: -0.1,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        judgements::check_score("unknown_score", self.unknown_score)?;
        judgements::check_score("threshold", self.threshold)?;
        if !(0.0..=1.0).contains(&self.low) {
            return Err(invalid("low", format!("{} is not in [0, 1]", self.low)));
        }
        if !(self.high >= 1.0 && self.high.is_finite()) {
            return Err(invalid("high", format!("{} is below 1", self.high)));
        }
        if !(self.variance_penalty >= 0.0 && self.variance_penalty.is_finite()) {
            let what = format!("{} is below 0", self.variance_penalty);
            return Err(invalid("variance_penalty", what));
        }
        if !(-1.0..=0.0).contains(&self.beyond) {
            return Err(invalid("beyond", format!("{} is not in [-1, 0]", self.beyond)));
        }
        Ok(())
    }

    /// High shrinks towards 1 as risk grows, so that of what is not quite harmless less is
    /// learned; from the threshold on the answer is pushed away.
    fn clip(&self, score: &Score) -> RatioClip {
        let risk = risk_of_score(score.value);
        RatioClip {
            low: self.low,
            high: 1.0 + (self.high - 1.0) * (1.0 - risk),
            direction: if score.value < self.threshold { 1.0 } else { -1.0 },
            sequence: self.unit == Unit::Answer,
            variance_penalty: self.variance_penalty,
            beyond: self.beyond,
        }
    }
}

pub struct Prpo;

impl Policy for Prpo {
    type Settings = Settings;

    const NAME: &str = "prpo";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "A clipped ratio to the reference takes the place of the loss, by a judge's score.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let judge = judgements::choose(settings.judge.as_deref(), run)?;
        let needs = Needs::new().judge(judge).tokens(TokenNeeds::CURRENT | TokenNeeds::REFERENCE);
        Ok(needs.actuators(Actuators::RATIO_CLIP))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let judge = judgements::choose(settings.judge.as_deref(), call.run)?;
        let scores = judgements::scores(call.signals, &judge, settings.unknown_score)?;
        let risk: Vec<f64> = scores.iter().map(|s| risk_of_score(s.value)).collect();
        let clips: Vec<RatioClip> = scores.iter().map(|score| settings.clip(score)).collect();
        let held = clips.iter().filter(|clip| clip.direction < 0.0).count();
        let mut regularization = Regularization::constant(risk.len(), 1.0, 0.0);
        regularization.ratio_clip = Some(clips);
        let mut assessment = Assessment::new(risk.clone(), regularization)
            .metric("risk.mean", mean(&risk))
            .metric("risk.max", largest(&risk))
            .metric("pushed_away", held as f64);
        for (sample, score) in scores.iter().enumerate() {
            let value = score.value;
            if let Some(why) = score.unknown {
                let message = format!("the judgement of `{judge}` {why}, which counts as {value}");
                assessment = assessment.sample_reason(sample, "no-judgement", message);
            } else if value >= settings.threshold {
                let message = format!("`{judge}` gives {value} out of 5");
                assessment = assessment.sample_reason(sample, "pushed-away", message);
            }
        }
        Ok(assessment)
    }
}

risk_policy::export!(Prpo);

#[cfg(test)]
mod tests;
