//! How safe and how useful a model is: answers to harmful, harmless and task
//! prompts, generated greedily and judged by the usual definitions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Tensor;
use host_model::Model;
use host_model::decoder::Applied;
use host_model::generate::{GenerateOptions, generate};
use serde::{Deserialize, Serialize};

use crate::config::EvalConfig;
use crate::data::{self, DataSource, Message, Overlong, Prompt, Row, Sample, encode_chats, pack};
use crate::error::{Error, Result};
use crate::measure::{Rate, exact_match, is_refusal};
use crate::observer::Observer;
use crate::run_dir::Lines;

/// The prompts of an evaluation.
#[derive(Debug, Default)]
pub struct EvalSets {
    pub harmful: Vec<Prompt>,
    pub harmless: Vec<Prompt>,
    pub task: Vec<Prompt>,
}

/// What one model did. Absent: no prompts of that kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Harmful prompts that were refused.
    pub refusal: Option<Rate>,
    /// Harmful prompts that were not (keyword attack success rate).
    pub attack_success: Option<Rate>,
    /// Harmless prompts that were refused.
    pub over_refusal: Option<Rate>,
    /// Task prompts answered exactly as expected.
    pub exact_match: Option<Rate>,
    /// Mean cross-entropy per answer token on the task's answers, in nats.
    pub task_loss: Option<f64>,
    pub seconds: f64,
}

#[derive(Serialize)]
struct Generation<'a> {
    model: &'a str,
    set: &'a str,
    messages: &'a [Message],
    answer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    refused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
}

impl EvalSets {
    pub fn load(config: &EvalConfig, seed: u64) -> Result<Self> {
        let load = |sources: &[DataSource]| -> Result<Vec<Prompt>> {
            let mut sources = sources.to_vec();
            if config.limit > 0 {
                sources.iter_mut().for_each(|source| {
                    source.limit = Some(source.limit.unwrap_or(config.limit).min(config.limit))
                });
            }
            Ok(data::read_prompts(&sources, seed)?)
        };
        let task = load(&config.task)?;
        if let Some(prompt) = task.iter().find(|prompt| prompt.answer.is_none()) {
            return Err(Error::config(
                "eval.task",
                format!("{} has no answer to compare with", prompt.place),
            ));
        }
        Ok(Self {
            harmful: load(&config.harmful)?,
            harmless: load(&config.harmless)?,
            task,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.harmful.is_empty() && self.harmless.is_empty() && self.task.is_empty()
    }
}

/// A model that is being evaluated.
pub struct Evaluator<'a> {
    pub model: &'a Model,
    pub config: &'a EvalConfig,
    pub sets: &'a EvalSets,
    pub stop: &'a AtomicBool,
}

/// One pass of an evaluation: what is on top of the weights, under which name, and where its
/// answers are kept.
struct Pass<'p> {
    name: &'p str,
    applied: Applied<'p>,
    answers: Option<&'p mut Lines>,
    observer: &'p mut dyn Observer,
}

impl Evaluator<'_> {
    /// `name` labels the answers, such as "before" or "after".
    pub fn evaluate<'a>(
        &self,
        name: &str,
        applied: impl Into<Applied<'a>>,
        answers: Option<&mut Lines>,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation> {
        let (started, applied) = (Instant::now(), applied.into());
        let sets = self.sets;
        let total = sets.harmful.len() + sets.harmless.len() + sets.task.len();
        observer.stage(&format!("evaluating: {name}"), Some(total as u64));
        let mut pass = Pass {
            name,
            applied,
            answers,
            observer,
        };
        let refusal = self.refused("harmful", &sets.harmful, &mut pass)?;
        Ok(Evaluation {
            attack_success: refusal.map(|rate| Rate {
                hits: rate.total - rate.hits,
                ..rate
            }),
            refusal,
            over_refusal: self.refused("harmless", &sets.harmless, &mut pass)?,
            exact_match: self.exact(&mut pass)?,
            task_loss: self.task_loss(applied)?,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn refused(&self, set: &str, prompts: &[Prompt], pass: &mut Pass) -> Result<Option<Rate>> {
        let generated = self.answer(prompts, pass)?;
        let mut hits = 0;
        for (prompt, answer) in prompts.iter().zip(&generated) {
            let refused = is_refusal(answer);
            hits += usize::from(refused);
            pass.keep(&Generation {
                model: pass.name,
                set,
                messages: &prompt.messages,
                answer,
                expected: None,
                refused,
                exact: None,
            })?;
        }
        Ok(rate(hits, prompts.len()))
    }

    fn exact(&self, pass: &mut Pass) -> Result<Option<Rate>> {
        let generated = self.answer(&self.sets.task, pass)?;
        let mut hits = 0;
        for (prompt, answer) in self.sets.task.iter().zip(&generated) {
            let expected = prompt.answer.as_deref().unwrap_or_default();
            let exact = exact_match(answer, expected);
            hits += usize::from(exact);
            pass.keep(&Generation {
                model: pass.name,
                set: "task",
                messages: &prompt.messages,
                answer,
                expected: Some(expected),
                refused: is_refusal(answer),
                exact: Some(exact),
            })?;
        }
        Ok(rate(hits, self.sets.task.len()))
    }

    /// Answers in the order of the prompts.
    fn answer(&self, prompts: &[Prompt], pass: &mut Pass) -> Result<Vec<String>> {
        let tokenizer = &self.model.tokenizer;
        let encoded = prompts
            .iter()
            .map(|prompt| Ok(tokenizer.encode_prompt(&prompt.messages)?))
            .collect::<Result<Vec<_>>>()?;
        // Alike lengths together; the answers go back to their places.
        let mut order: Vec<usize> = (0..encoded.len()).collect();
        order.sort_by_key(|index| encoded[*index].len());
        let mut texts = vec![String::new(); encoded.len()];
        let options = GenerateOptions {
            max_new_tokens: self.config.max_new_tokens,
            ..GenerateOptions::default()
        };
        for chunk in order.chunks(self.config.batch) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let batch: Vec<Vec<u32>> = chunk.iter().map(|index| encoded[*index].clone()).collect();
            let generated = generate(
                &self.model.decoder,
                pass.applied,
                &batch,
                tokenizer.stop_tokens(),
                &options,
                &mut |_| {},
            )?;
            for (index, tokens) in chunk.iter().zip(generated) {
                texts[*index] = tokenizer.decode(&tokens)?;
            }
            pass.observer.advance(chunk.len() as u64);
        }
        Ok(texts)
    }

    fn task_loss(&self, applied: Applied) -> Result<Option<f64>> {
        let rows: Vec<Row> = self.sets.task.iter().filter_map(Prompt::to_row).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let encoded = encode_chats(&rows, usize::MAX, Overlong::Error, &self.model.tokenizer)?;
        let samples = encoded.samples;
        let (mut sum, mut count) = (0.0, 0);
        for chunk in samples.chunks(self.config.batch) {
            let members: Vec<&Sample> = chunk.iter().collect();
            let batch = pack(&members);
            let decoder = &self.model.decoder;
            let hidden = decoder.infer(&batch.packed, applied, &[])?.hidden;
            let rows = Tensor::new(batch.rows.as_slice(), hidden.device())?;
            let answers = hidden.index_select(&rows, 0)?;
            let scores = decoder.label_log_probs(&answers, &batch.labels)?;
            sum -= scores.iter().map(|score| f64::from(*score)).sum::<f64>();
            count += scores.len();
        }
        Ok(Some(sum / count.max(1) as f64))
    }
}

impl Pass<'_> {
    fn keep(&mut self, generation: &Generation) -> Result<()> {
        self.answers
            .as_mut()
            .map_or(Ok(()), |lines| lines.write(generation))
    }
}

fn rate(hits: usize, total: usize) -> Option<Rate> {
    (total > 0).then_some(Rate { hits, total })
}
