//! What a run can be steered by.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use host_data::{DataSource, OneOrMany, one_or_many};

/// Vectors that are added to the residual stream at every position, h_l += c v_l.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SteeringConfig {
    /// The configured vector, a file that `host steer fit` made.
    pub vector: Option<PathBuf>,
    /// Prompts to fit the vector on if there is no file: it is the mean activation of these,
    /// minus that of `negative`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub positive: Vec<DataSource>,
    /// Prompts whose mean activation is subtracted.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub negative: Vec<DataSource>,
    /// Layers that `host steer fit` fits it at; empty: all. In a run the policy names them.
    pub layers: Vec<u32>,
    /// c, until a policy sets another.
    pub coefficient: f64,
    /// Prompts that the safety instruction is tried on; none are the labelled ones to
    /// train on.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub prompts: Vec<DataSource>,
    /// The safety instruction that is added to them.
    pub instruction: String,
}

impl Default for SteeringConfig {
    fn default() -> Self {
        Self {
            vector: None,
            positive: Vec::new(),
            negative: Vec::new(),
            layers: Vec::new(),
            coefficient: 1.0,
            prompts: Vec::new(),
            instruction: "First ask yourself whether an answer could help to hurt someone. If it \
                          could, say that you can't help with that."
                .into(),
        }
    }
}

impl SteeringConfig {
    pub fn has_vector(&self) -> bool {
        self.vector.is_some() || (!self.positive.is_empty() && !self.negative.is_empty())
    }
}
