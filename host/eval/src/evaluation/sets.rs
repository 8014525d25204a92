//! The prompts of an evaluation.

use std::collections::BTreeMap;

use host_data::failure::{Failure as Error, Result};
use host_data::{DataSource, Prompt, Reader};
use host_model::Model;

use crate::config::EvalConfig;

#[derive(Debug, Default)]
pub struct EvalSets {
    pub harmful: Vec<Prompt>,
    pub harmless: Vec<Prompt>,
    /// Each has an answer, and perhaps choices.
    pub task: Vec<Prompt>,
    /// By name.
    pub further: BTreeMap<String, FurtherSet>,
}

/// A set of `eval.further`.
#[derive(Debug, Default)]
pub struct FurtherSet {
    pub prefill: String,
    pub harmful: Vec<Prompt>,
    pub harmless: Vec<Prompt>,
}

impl EvalSets {
    pub fn load(config: &EvalConfig, reader: &Reader) -> Result<Self> {
        let load = |sources: &[DataSource]| -> Result<Vec<Prompt>> {
            let mut sources = sources.to_vec();
            if config.limit > 0 {
                sources.iter_mut().for_each(|source| {
                    source.limit = Some(source.limit.unwrap_or(config.limit).min(config.limit));
                });
            }
            Ok(reader.prompts(&sources)?)
        };
        let task = load(&config.task)?;
        if let Some(prompt) = task.iter().find(|prompt| prompt.answer.is_none()) {
            return Err(Error::config(
                "eval.task",
                format!("{} has no answer to compare with", prompt.place),
            ));
        }
        if let Some(prompt) = task.iter().find(|prompt| prompt.expected() == Some("")) {
            let problem = format!(
                "{} is answered by a call, and answers are compared as text; remove it",
                prompt.place
            );
            return Err(Error::config("eval.task", problem));
        }
        let further = config.further.iter().map(|(name, set)| {
            let set = FurtherSet {
                prefill: set.prefill.clone(),
                harmful: load(&set.harmful)?,
                harmless: load(&set.harmless)?,
            };
            Ok((name.clone(), set))
        });
        Ok(Self {
            harmful: load(&config.harmful)?,
            harmless: load(&config.harmless)?,
            task,
            further: further.collect::<Result<_>>()?,
        })
    }

    /// Checks that the model's chat template renders what the prompts say, and that they fit into
    /// its context.
    ///
    /// # Errors
    /// If it leaves out what changes their meaning, or one is too long.
    pub fn check(&self, model: &Model, reader: &Reader) -> Result<()> {
        let further = self.further.values().flat_map(|set| set.harmful.iter().chain(&set.harmless));
        let all = self.harmful.iter().chain(&self.harmless).chain(&self.task).chain(further);
        Ok(reader.check(all, model)?)
    }

    pub fn is_empty(&self) -> bool {
        let further = |set: &FurtherSet| set.harmful.is_empty() && set.harmless.is_empty();
        self.harmful.is_empty()
            && self.harmless.is_empty()
            && self.task.is_empty()
            && self.further.values().all(further)
    }
}
