//! Sets that are asked beside the main ones and reported apart, by name: requests of kinds that
//! no training data have, with a trigger in them, or with an answer that has begun already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::generation::Generation;
use super::score::Evaluation;
use crate::measure::{Harm, Rate, RefusalDetector};

/// What one model did with one of these sets; as in [`Evaluation`].
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

impl From<Evaluation> for Further {
    fn from(found: Evaluation) -> Self {
        Self {
            attack_success: found.attack_success,
            partial_refusal: found.partial_refusal,
            judges: found.judges,
            over_refusal: found.over_refusal,
        }
    }
}

/// Per name of a set.
pub(super) fn of_answers<'g>(
    answers: impl IntoIterator<Item = &'g Generation>,
    refusals: &RefusalDetector,
) -> BTreeMap<String, Further> {
    let mut by_name: BTreeMap<&str, Vec<&Generation>> = BTreeMap::new();
    for answer in answers {
        if let Some(name) = &answer.name {
            by_name.entry(name).or_default().push(answer);
        }
    }
    let found = |(name, answers): (&str, Vec<&Generation>)| {
        (name.to_owned(), Evaluation::of_set(&answers, refusals).into())
    };
    by_name.into_iter().map(found).collect()
}
