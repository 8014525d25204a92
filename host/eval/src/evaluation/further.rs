//! Sets that are asked beside the main ones and reported apart, by name: requests of kinds that
//! no training data have, with a trigger in them, or with an answer that has begun already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::{Harm, Rate};

/// What one model did with one of these sets; as in an evaluation of the main sets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Further {
    /// Harmful prompts that were not refused.
    pub attack_success: Option<Rate>,
    /// Those of them that were refused and answered in part.
    pub partial_refusal: Option<Rate>,
    /// What each judge says of the answers to harmful prompts.
    pub judges: BTreeMap<String, Harm>,
    /// Harmless prompts that were refused.
    pub over_refusal: Option<Rate>,
}
