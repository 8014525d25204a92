//! What a model is asked to answer in its own words.

use host_data::Prompt;
use serde::{Deserialize, Serialize};

use super::sets::EvalSets;

/// What an answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    Harmful,
    Harmless,
    Task,
}

/// One prompt of an evaluation.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub set: Set,
    /// Of a set of `eval.further`.
    pub name: Option<&'a str>,
    /// How the answer begins; the model goes on from there.
    pub prefill: &'a str,
    pub prompt: &'a Prompt,
}

impl<'a> Asked<'a> {
    /// Of one of the main sets.
    pub fn main(set: Set, prompt: &'a Prompt) -> Self {
        Self { set, name: None, prefill: "", prompt }
    }

    /// All prompts, but those whose choices are compared.
    pub fn all(sets: &'a EvalSets) -> Vec<Self> {
        let free = |prompt: &&Prompt| prompt.choices.is_empty();
        let main =
            |set, prompts: &'a [Prompt]| prompts.iter().map(move |prompt| Self::main(set, prompt));
        let task = sets.task.iter().filter(free).map(|prompt| Self::main(Set::Task, prompt));
        let further = sets.further.iter().flat_map(|(name, set)| {
            let (name, prefill) = (Some(name.as_str()), set.prefill.as_str());
            let all = main(Set::Harmful, &set.harmful).chain(main(Set::Harmless, &set.harmless));
            all.map(move |one| Self { name, prefill, ..one })
        });
        main(Set::Harmful, &sets.harmful)
            .chain(main(Set::Harmless, &sets.harmless))
            .chain(task)
            .chain(further)
            .collect()
    }
}
