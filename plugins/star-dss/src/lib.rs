//! Dynamic safety shaping of single tokens (STAR-DSS, arXiv 2505.17196).
//!
//! A judge scores the answer cut after every few words. With V the safety of the prefix
//! that a chunk k ends, the loss is
//!
//! ```text
//! sum over chunks k, tokens t of k:   V_k * CE_t  +  (1 - V_k) * c * KL_t
//! ```
//!
//! so an answer is learned up to where it turns harmful, and held to the reference from
//! there on.

mod prefixes;

use risk_policy::assessment::{largest, mean};
use risk_policy::judgements::{self, WORST};
use risk_policy::prelude::*;
use risk_policy::settings::invalid;

use prefixes::{Chunk, chunks};

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    judge: Option<String>,
    chunk_words: u32,
    kl_weight: f64,
    divergence: HeldBy,
    unknown_score: f64,
    threshold: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HeldBy {
    LabelK2,
    ForwardKl,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            judge: None,
            chunk_words: 5,
            kl_weight: 0.5,
            divergence: HeldBy::ForwardKl,
            unknown_score: WORST,
            threshold: 3.0,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        if self.chunk_words == 0 {
            return Err(invalid("chunk_words", "0 is no number of words"));
        }
        if !(0.0..=10.0).contains(&self.kl_weight) {
            let problem = format!("{} is not in [0, 10]", self.kl_weight);
            return Err(invalid("kl_weight", problem));
        }
        judgements::check_score("unknown_score", self.unknown_score)?;
        judgements::check_score("threshold", self.threshold)
    }
}

pub struct StarDss;

impl Policy for StarDss {
    type Settings = Settings;

    const NAME: &str = "star-dss";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Each part of an answer is learned as far as a judge calls it safe, and held to the reference as far as not.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let judge = judgements::choose(settings.judge.as_deref(), run)?;
        let needs = Needs::new()
            .judge_prefixes(judge, settings.chunk_words)
            .actuators(Actuators::TOKEN_WEIGHTS);
        Ok(match settings.divergence {
            HeldBy::ForwardKl => needs,
            HeldBy::LabelK2 => needs
                .tokens(TokenNeeds::CURRENT | TokenNeeds::REFERENCE)
                .actuators(Actuators::LABEL_DIVERGENCE),
        })
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let judge = judgements::choose(settings.judge.as_deref(), call.run)?;
        let samples = chunks(call.signals, &judge, settings.unknown_score)?;
        let worst: Vec<f64> = samples.iter().map(|chunks| worst_risk(chunks)).collect();
        let mut assessment = Assessment::new(worst.clone(), regularization(settings, &samples));
        for (sample, chunks) in samples.iter().enumerate() {
            if let Some((code, message)) = reason(chunks, settings.threshold, &judge) {
                assessment = assessment.sample_reason(sample, code, message);
            }
        }
        let all = || samples.iter().flatten();
        let unknown = all().filter(|chunk| chunk.score.unknown.is_some());
        let safety: Vec<f64> =
            all().flat_map(|chunk| std::iter::repeat_n(chunk.safety(), chunk.tokens)).collect();
        Ok(assessment
            .metric("risk.mean", mean(&worst))
            .metric("risk.max", largest(&worst))
            .metric("safety.mean", mean(&safety))
            .metric("judge.unknown", unknown.count() as f64))
    }
}

/// 1 - V of the worst chunk.
fn worst_risk(chunks: &[Chunk]) -> f64 {
    let risks: Vec<f64> = chunks.iter().map(|chunk| 1.0 - chunk.safety()).collect();
    largest(&risks)
}

fn regularization(settings: &Settings, samples: &[Vec<Chunk>]) -> Regularization {
    let per_token = |weight: fn(&Chunk) -> f64| {
        let chunks = samples.iter().flatten();
        let weights = chunks.flat_map(|chunk| std::iter::repeat_n(weight(chunk), chunk.tokens));
        Some(weights.map(|weight| weight as f32).collect())
    };
    let mut regularization = Regularization::constant(samples.len(), 1.0, settings.kl_weight);
    regularization.token_task_weight = per_token(Chunk::safety);
    regularization.token_kl_weight = per_token(|chunk| 1.0 - chunk.safety());
    regularization.divergence = match settings.divergence {
        HeldBy::LabelK2 => Divergence::LabelK2,
        HeldBy::ForwardKl => Divergence::ForwardKl,
    };
    regularization
}

/// About the first chunk that is unknown or of a high score.
fn reason(chunks: &[Chunk], threshold: f64, judge: &str) -> Option<(&'static str, String)> {
    let mut before = 0;
    for chunk in chunks {
        let value = chunk.score.value;
        match chunk.score.unknown {
            Some(why) => {
                let message = format!(
                    "the judgement of `{judge}` {why} from answer token {before} on, which counts as {value}"
                );
                return Some(("no-judgement", message));
            }
            None if value >= threshold => {
                let message =
                    format!("`{judge}` gives {value} out of 5 from answer token {before} on");
                return Some(("harmful-chunk", message));
            }
            None => before += chunk.tokens,
        }
    }
    None
}

risk_policy::export!(StarDss);

#[cfg(test)]
mod tests;
