//! Runs and signals for the unit tests of policies.

use crate::bindings::{
    AnchorSignals, JudgeScores, Judgement, JudgementStatus, Origin, RunInfo, Sample, Signals,
};

/// A small run: 4 blocks of width 8, `samples` per step, 10 steps, seed 1.
pub fn run(samples: u32) -> RunInfo {
    RunInfo {
        layers: 4,
        hidden: 8,
        vocabulary: 100,
        samples_per_step: samples,
        total_steps: 10,
        seed: 1,
        judges: Vec::new(),
    }
}

/// The signals of a step for a policy that needs none.
pub fn signals(step: u64, samples: u32) -> Signals {
    let sample = |i| Sample { id: i, origin: Origin::Task, prompt_tokens: 12, answer_tokens: 5 };
    Signals::unmeasured(step, (0..u64::from(samples)).map(sample).collect())
}

/// The defaults that a policy's schema names, as settings in JSON.
///
/// # Panics
/// If the schema is none, which is a bug of the policy.
pub fn schema_defaults(schema: &str) -> String {
    let schema: serde_json::Value = serde_json::from_str(schema).expect("the schema is JSON");
    let properties = schema["properties"].as_object().expect("it has properties");
    let defaults =
        properties.iter().map(|(key, property)| (key.clone(), property["default"].clone()));
    serde_json::Value::Object(defaults.collect()).to_string()
}

/// The first step of a run whose `judge` gave these scores; none is a missing one.
pub fn judged(judge: &str, scores: &[Option<f64>]) -> Signals {
    let judgement = |score: &Option<f64>| match score {
        Some(score) => Judgement { status: JudgementStatus::Scored, score: *score },
        None => Judgement { status: JudgementStatus::Missing, score: 5.0 },
    };
    let mut signals = signals(0, scores.len() as u32);
    signals.judges.push(JudgeScores {
        judge: judge.to_string(),
        judgements: scores.iter().map(judgement).collect(),
    });
    signals
}

/// A step after one that visited anchors: of each, whether it is harmful, and its divergence.
pub fn anchored(step: u64, anchors: &[(bool, f64)]) -> Signals {
    let mut signals = signals(step, 1);
    let (harmful, divergence) = anchors.iter().copied().unzip();
    signals.anchors = Some(AnchorSignals { step: step.saturating_sub(1), harmful, divergence });
    signals
}
