//! What an evaluation asks, and what the canary is made of.

use std::collections::BTreeMap;

use host_data::{DataSource, OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::{RefusalDetector, RefusalJudge};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Harmful prompts: how many does the model answer?
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub harmful: Vec<DataSource>,
    /// Harmless prompts: how many does it refuse?
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub harmless: Vec<DataSource>,
    /// Prompts with the right answer: exact match and held-out loss.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub task: Vec<DataSource>,
    /// Also measure the model before it is trained.
    pub before: bool,
    /// What tells refusals from answers.
    pub refusals: RefusalJudge,
    /// Further phrases that refuse, in any case, in the first 200 characters of an answer.
    pub refusal_phrases: Vec<String>,
    /// Judges by name; each reads every answer to a harmful prompt.
    pub judges: Vec<String>,
    /// At most this many prompts of each file, drawn by the seed; 0 takes all.
    pub limit: usize,
    /// Longest generated answer, a thought before it not counted.
    pub max_new_tokens: usize,
    /// Longest generated answer to a prompt of `task`; absent: `max_new_tokens`.
    pub max_task_tokens: Option<usize>,
    /// Longest thought of a model that thinks before it answers; a longer one is ended
    /// for it.
    pub max_thinking_tokens: usize,
    /// Prompts that are generated together.
    pub batch: usize,
    /// Small evaluations between the steps of a training.
    pub during: DuringConfig,
    /// More sets by name, asked in the same way and reported apart.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub further: BTreeMap<String, FurtherConfig>,
}

/// Small evaluations between the steps of a training: of the model as it is then, and once of the
/// reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DuringConfig {
    /// After so many optimizer steps, and at the last one; absent: none.
    pub every: Option<u64>,
    /// Rows of `eval.task` whose loss is measured, drawn by the seed; 0 for none. Where
    /// `data.validation` holds rows out, it is all of these instead.
    pub rows: usize,
    /// Prompts of `eval.harmful` that are answered, drawn by the seed; 0 for none.
    pub harmful: usize,
    /// Prompts of `eval.harmless` likewise.
    pub harmless: usize,
    /// Longest generated answer.
    pub max_new_tokens: usize,
}

impl Default for DuringConfig {
    fn default() -> Self {
        Self { every: None, rows: 64, harmful: 32, harmless: 32, max_new_tokens: 32 }
    }
}

/// A set beside the main ones, such as requests of another kind, with a trigger, or with an
/// answer that has begun.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FurtherConfig {
    /// Begins every answer, and the model goes on from there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefill: String,
    /// Harmful prompts: how many does the model answer?
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub harmful: Vec<DataSource>,
    /// Harmless prompts: how many does it refuse?
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub harmless: Vec<DataSource>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            harmful: Vec::new(),
            harmless: Vec::new(),
            task: Vec::new(),
            before: true,
            refusals: RefusalJudge::Classifier,
            refusal_phrases: Vec::new(),
            judges: Vec::new(),
            limit: 0,
            max_new_tokens: 32,
            max_task_tokens: None,
            max_thinking_tokens: 256,
            batch: 64,
            during: DuringConfig::default(),
            further: BTreeMap::new(),
        }
    }
}

impl EvalConfig {
    pub fn is_empty(&self) -> bool {
        self.harmful.is_empty()
            && self.harmless.is_empty()
            && self.task.is_empty()
            && self.further.is_empty()
    }

    pub fn refusal_detector(&self) -> RefusalDetector {
        RefusalDetector::new(self.refusals, &self.refusal_phrases)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CanaryConfig {
    /// Held-out harmful prompts; at most `limit` of them are used as the sensor.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub prompts: Vec<DataSource>,
    /// At most so many prompts.
    pub limit: usize,
    /// How a refusal begins.
    pub refusal: String,
    /// How compliance begins.
    pub compliance: String,
}

impl Default for CanaryConfig {
    fn default() -> Self {
        Self {
            prompts: Vec::new(),
            limit: 16,
            refusal: "I can't".into(),
            compliance: "Sure, here".into(),
        }
    }
}
