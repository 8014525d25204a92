//! A language model that runs here and says whether an answer is safe: of the two words
//! that it may begin its verdict with, how much more probable is the harmful one?
//!
//! Only the first token of each word counts, so the verdict takes one forward.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;
use host_contract::Judgement;
use host_data::ModelConfig;
use host_data::Silent;
use host_data::failure::{Failure as Error, Result};
use host_data::load_model;
use host_model::decoder::Packed;
use host_model::{Message, Model};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::local::given;
use super::{Judge, Pair, local};

/// What the model is asked.
const QUESTION: &str = include_str!("question.md");

/// Pairs of one forward.
const TOGETHER: usize = 4;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// As `model.source`.
    pub model: String,
    /// What it is given.
    pub asks: Asks,
    /// Text that replaces our question; for `asks = "question"`.
    pub question: Option<PathBuf>,
    /// How its answer begins if the pair is harmful.
    pub harmful: String,
    /// How its answer begins if it is not.
    pub harmless: String,
    /// cpu, cuda or cuda:N.
    pub device: String,
}

/// What a guard model is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Asks {
    /// A user message with our question and, as JSON, the conversation.
    #[default]
    Question,
    /// The conversation alone: the model's own chat template asks, as Llama Guard's does.
    Conversation,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            model: String::new(),
            asks: Asks::default(),
            question: None,
            harmful: "unsafe".into(),
            harmless: "safe".into(),
            device: "cpu".into(),
        }
    }
}

impl GuardConfig {
    /// # Errors
    /// The first key that is missing.
    pub fn check(&self, name: &str) -> Result<()> {
        given(name, "guard", "model", self.model.is_empty())?;
        given(name, "guard", "harmful", self.harmful.trim().is_empty())?;
        given(name, "guard", "harmless", self.harmless.trim().is_empty())
    }
}

pub struct Guard {
    model: Model,
    asks: Asks,
    question: String,
    /// First token of the harmful word, and of the harmless one.
    words: [u32; 2],
}

impl Guard {
    pub fn load(name: &str, config: &GuardConfig) -> Result<Self> {
        let question = match &config.question {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|source| Error::read(path, source))?
            }
            None => QUESTION.to_owned(),
        };
        let source = ModelConfig {
            source: Some(config.model.clone()),
            device: config.device.clone(),
            ..ModelConfig::default()
        };
        let model = load_model(&source, &mut Silent)?;
        let first = |word: &str| -> Result<Option<u32>> {
            Ok(model.tokenizer.encode(word)?.first().copied())
        };
        let words = first(&config.harmful)?.zip(first(&config.harmless)?);
        let Some((harmful, harmless)) = words.filter(|(one, other)| one != other) else {
            let problem = format!(
                "{:?} and {:?} begin with the same token in this model; choose other words",
                config.harmful, config.harmless
            );
            return Err(Error::config(format!("judges.{name}.guard.harmful"), problem));
        };
        Ok(Self { model, asks: config.asks, question, words: [harmful, harmless] })
    }

    /// The tokens before the verdict; none if they are more than the model takes.
    fn asked(&self, pair: &Pair<'_>) -> Result<Option<Vec<u32>>> {
        let messages = match self.asks {
            Asks::Conversation => pair.conversation(),
            Asks::Question => {
                let said = json!({"conversation": pair.messages, "answer": pair.answer});
                vec![Message::user(format!("{}\n{said}", self.question.trim_end()))]
            }
        };
        let tokens = self.model.tokenizer.encode_prompt(&messages)?;
        let fits = (1..=self.model.config.max_position).contains(&tokens.len());
        Ok(fits.then_some(tokens))
    }

    /// P(harmful word) / (P(harmful word) + P(harmless word)) of each.
    fn harm(&self, asked: &[&Vec<u32>]) -> Result<Vec<f64>> {
        let packed = Packed::from_sequences(asked);
        let decoder = &self.model.decoder;
        let hidden = decoder.infer(&packed, None, &[])?.hidden;
        let ends = packed.starts.iter().skip(1);
        // The last row of each sequence, once per word.
        let rows: Vec<u32> = ends.flat_map(|end| [*end as u32 - 1; 2]).collect();
        let rows = Tensor::new(rows, hidden.device())?;
        let words = self.words.repeat(asked.len());
        let scores = decoder.label_log_probs(&hidden.index_select(&rows, 0)?, &words)?;
        let harm = scores.chunks(2).map(|pair| {
            let margin = f64::from(pair[0]) - f64::from(pair[1]);
            1.0 / (1.0 + (-margin).exp())
        });
        Ok(harm.collect())
    }
}

impl Judge for Guard {
    fn judge(&self, pairs: &[Pair<'_>], stop: &AtomicBool) -> Result<Vec<Judgement>> {
        // The decoder takes all threads for one batch. Where a row's bits depend on its
        // company in a batch, each pair goes alone.
        let together = if self.model.decoder.rows_stand_alone() { TOGETHER } else { 1 };
        let mut judged = Vec::with_capacity(pairs.len());
        for chunk in pairs.chunks(together) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let asked = chunk.iter().map(|pair| self.asked(pair));
            let asked = asked.collect::<Result<Vec<_>>>()?;
            let fitting: Vec<&Vec<u32>> = asked.iter().flatten().collect();
            let mut harm =
                if fitting.is_empty() { Vec::new() } else { self.harm(&fitting)? }.into_iter();
            let of = |tokens: &Option<Vec<u32>>| tokens.as_ref().and_then(|_| harm.next());
            judged.extend(asked.iter().map(of).map(local::judgement));
        }
        Ok(judged)
    }

    fn identity(&self) -> String {
        let (model, tokenizer) = (&self.model.digest, self.model.tokenizer.digest());
        let (question, words) = (&self.question, self.words);
        let asks = format!("{:?} {words:?} {question}", self.asks);
        let arithmetic = self.model.decoder.arithmetic();
        format!("guard {model} {tokenizer} {arithmetic} {asks}")
    }
}
