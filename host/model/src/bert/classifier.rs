//! A BERT encoder with a head that sorts texts into labels.

use std::path::Path;

use candle_core::{D, Tensor};
use candle_nn::{Linear, Module, linear, ops};
use serde_json::Value;

use super::{Encoder, Parts};
use crate::error::{Error, Result};

/// A sequence classifier (`BertForSequenceClassification`).
pub struct Classifier {
    encoder: Encoder,
    /// Of the first token.
    pooler: Linear,
    head: Linear,
    labels: Vec<String>,
    /// Whether each label has a probability of its own, or all share one.
    independent: bool,
}

impl Classifier {
    /// # Errors
    /// As [`Encoder::load`], and if there is no classification head or its labels don't fit.
    pub fn load(folder: &Path) -> Result<Self> {
        let (encoder, parts) = Encoder::with_parts(folder)?;
        let labels = labels(&parts)?;
        let width = parts.config.hidden_size;
        let head = |name: &str, outputs: usize| {
            linear(width, outputs, parts.weights.pp(name)).map_err(|error| {
                let problem = format!("holds no classification head ({error})");
                let action = "give a model that was trained to classify sequences";
                Error::file(&parts.folder, problem, action)
            })
        };
        Ok(Self {
            encoder,
            pooler: head("bert.pooler.dense", width)?,
            head: head("classifier", labels.len())?,
            labels,
            independent: parts.json["problem_type"] == "multi_label_classification",
        })
    }

    /// sha256 (hex) over the model's files.
    pub fn digest(&self) -> &str {
        self.encoder.digest()
    }

    /// Labels, in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Whether several labels may be true at once, each with its own probability.
    pub fn is_independent(&self) -> bool {
        self.independent
    }

    /// Per window of the text, the probability of each label.
    ///
    /// # Errors
    /// As [`Encoder::embed`].
    pub fn probabilities(&self, text: &str) -> Result<Vec<Vec<f32>>> {
        let probabilities = |hidden: Tensor| {
            let pooled = self.pooler.forward(&hidden.narrow(0, 0, 1)?)?.tanh()?;
            let logits = self.head.forward(&pooled)?;
            let probabilities = if self.independent {
                ops::sigmoid(&logits)?
            } else {
                ops::softmax(&logits, D::Minus1)?
            };
            Ok(probabilities.squeeze(0)?.to_vec1()?)
        };
        self.encoder.hidden(text)?.into_iter().map(probabilities).collect()
    }
}

/// Names of the labels, in the order of the head's outputs.
fn labels(parts: &Parts) -> Result<Vec<String>> {
    let wrong = || {
        Error::file(
            parts.folder.join("config.json"),
            "has no id2label that names labels 0, 1, ...",
            "give a model that was trained to classify sequences",
        )
    };
    let Value::Object(named) = &parts.json["id2label"] else {
        return Err(wrong());
    };
    let label = |id: usize| named.get(&id.to_string())?.as_str().map(str::to_owned);
    let labels: Option<Vec<String>> = (0..named.len()).map(label).collect();
    labels.filter(|labels| labels.len() > 1).ok_or_else(wrong)
}
