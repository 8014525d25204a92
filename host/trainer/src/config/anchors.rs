//! `[anchors]`: prompts beside the batch on which policies hold the model to the reference.

use host_data::{DataSource, OneOrMany, anchors, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Prompts of safety anchors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnchorsConfig {
    /// Harmful prompts, best ones that are in nobody's training data. Default: 64 that come with
    /// the program, which an attacker can read.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub harmful: Vec<DataSource>,
    /// Harmless prompts, in part ones that sound harmful. Default: 64 that come with the program.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub harmless: Vec<DataSource>,
    /// Use at most this many prompts of each kind, drawn by the seed; the reference answers each
    /// of them before the run.
    pub limit: usize,
}

impl Default for AnchorsConfig {
    fn default() -> Self {
        Self {
            harmful: vec![DataSource::whole(anchors::HARMFUL)],
            harmless: vec![DataSource::whole(anchors::HARMLESS)],
            limit: 256,
        }
    }
}
