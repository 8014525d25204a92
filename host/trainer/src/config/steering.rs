//! What a run can be steered by.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{DataSource, one_or_many};

/// Vectors that are added to the residual stream at every position, h_l += c v_l.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SteeringConfig {
    /// The configured vector, a file that `host steer fit` made.
    pub vector: Option<PathBuf>,
    /// Without a file, prompts to fit it on: mean activation of these ...
    #[serde(deserialize_with = "one_or_many")]
    pub positive: Vec<DataSource>,
    /// ... minus that of these.
    #[serde(deserialize_with = "one_or_many")]
    pub negative: Vec<DataSource>,
    /// Of `host steer fit`; none are all. In a run the policy names them.
    pub layers: Vec<u32>,
    /// c, in force until a policy says another.
    pub coefficient: f64,
    /// Prompts that the safety instruction is tried on; none are the labelled ones to
    /// train on.
    #[serde(deserialize_with = "one_or_many")]
    pub prompts: Vec<DataSource>,
    /// Added to these prompts, to see what it changes.
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
