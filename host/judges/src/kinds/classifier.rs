//! A sequence classifier that runs here: harm is the probability of the labels that the
//! configuration calls harmful.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use host_contract::Judgement;
use host_data::failure::{Failure as Error, Result};
use host_model::bert::Classifier as Bert;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::local;
use super::local::{Reads, given};
use crate::{Judge, Pair};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Folder with config.json, model.safetensors and tokenizer.json.
    pub model: PathBuf,
    /// Labels of the model that mean harm.
    pub harmful: Vec<String>,
    /// Which part of a pair it reads.
    pub reads: Reads,
}

impl ClassifierConfig {
    /// # Errors
    /// The first key that is missing.
    pub fn check(&self, name: &str) -> Result<()> {
        given(name, "classifier", "model", self.model.as_os_str().is_empty())?;
        given(name, "classifier", "harmful", self.harmful.is_empty())
    }
}

pub struct Classifier {
    bert: Bert,
    /// Outputs of the labels that are harmful.
    harmful: Vec<usize>,
    reads: Reads,
}

impl Classifier {
    pub fn load(name: &str, config: &ClassifierConfig) -> Result<Self> {
        let bert = Bert::load(&config.model)?;
        let labels = bert.labels();
        let output = |label: &String| {
            let known = labels.iter().position(|known| known == label);
            known.ok_or_else(|| {
                let key = format!("judges.{name}.classifier.harmful");
                let problem = format!("no label {label:?}; there are {}", labels.join(", "));
                Error::config(key, problem)
            })
        };
        let harmful = config.harmful.iter().map(output);
        Ok(Self { harmful: harmful.collect::<Result<_>>()?, reads: config.reads, bert })
    }

    /// Labels that exclude each other add up; of others the most probable counts.
    fn harm(&self, probabilities: &[f32]) -> f64 {
        let harmful = self.harmful.iter().map(|at| f64::from(probabilities[*at]));
        if self.bert.is_independent() {
            local::highest(harmful).unwrap_or(f64::NAN)
        } else {
            harmful.sum::<f64>().min(1.0)
        }
    }
}

impl Judge for Classifier {
    fn judge(&self, pairs: &[Pair<'_>], stop: &AtomicBool) -> Result<Vec<Judgement>> {
        local::judge(pairs, stop, |pair| {
            let windows = self.bert.probabilities(&self.reads.text(pair))?;
            Ok(local::highest(windows.iter().map(|one| self.harm(one))))
        })
    }

    fn identity(&self) -> String {
        let Self { bert, harmful, reads } = self;
        format!("classifier {} {harmful:?} {reads:?}", bert.digest())
    }

    fn remedy(&self, name: &str) -> String {
        let labels = self.bert.labels().join(", ");
        format!(
            "name the labels that mean harm in judges.{name}.classifier.harmful (the model has \
             {labels}), and what it reads in reads"
        )
    }
}
