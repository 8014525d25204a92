//! Safety anchors: prompts beside the batch on which the model is held to the reference
//! (Safety Anchor, arXiv 2605.05995; the KL along the reference's own answers is ours).
//!
//! ```text
//! weight / visited * sum over anchors of  mean over answer tokens of KL(ref || cur)
//!                                   or   |h - h_ref|^2 / width at the last prompt token
//! ```
//!
//! Anchors are no samples: no policy weighs one by itself, and N of the step doesn't count them.
//! They are visited by turns, so all that is kept from step to step is how often that was done.

use candle_core::DType;
use host_contract::{AnchorDivergence, AnchorNeed, AnchorSignals};
use host_data::Sample;
use serde::{Deserialize, Serialize};

use super::context::TrainingSpec;
use super::micro_batch::{Backward, MicroBatch};
use crate::actuators::objective::TokenWeights;
use crate::error::Result;
use crate::parameters::Layout;
use crate::signals::reference::{self, Reference};

/// A prompt with the beginning of the reference's own answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorPrompt {
    pub tokens: Vec<u32>,
    /// Tokens before the answer.
    pub prompt: usize,
}

/// The anchors of a run, in the order of their turns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnchorPrompts {
    pub need: AnchorNeed,
    pub harmful: Vec<AnchorPrompt>,
    pub harmless: Vec<AnchorPrompt>,
}

/// Anchors as samples of the model.
pub struct Anchors {
    pub prompts: AnchorPrompts,
    harmful: Vec<Sample>,
    harmless: Vec<Sample>,
}

impl From<AnchorPrompts> for Anchors {
    fn from(prompts: AnchorPrompts) -> Self {
        let sample = |one: &AnchorPrompt| {
            let mut sample = Sample::prompt_only(one.tokens.clone());
            sample.prompt_len = one.prompt;
            sample.answer = std::iter::once(one.prompt..one.tokens.len()).collect();
            sample
        };
        let samples = |all: &[AnchorPrompt]| all.iter().map(sample).collect();
        Self { harmful: samples(&prompts.harmful), harmless: samples(&prompts.harmless), prompts }
    }
}

impl Anchors {
    /// The anchors of the visit with this number, from 0: the next harmful ones, then the next
    /// harmless ones.
    pub fn visit(&self, number: u64) -> (Vec<&Sample>, Vec<bool>) {
        let AnchorNeed { harmful, harmless, .. } = self.prompts.need;
        let mut samples = Vec::new();
        for (all, count) in [(&self.harmful, harmful), (&self.harmless, harmless)] {
            let first = (number as usize).wrapping_mul(count as usize);
            let turn = (0..count as usize).map(|i| first.wrapping_add(i) % all.len().max(1));
            samples.extend(turn.filter_map(|i| all.get(i)));
        }
        let flags = (0..samples.len()).map(|i| i < harmful as usize).collect();
        (samples, flags)
    }

    /// Tokens that a visit runs through the model, on average.
    pub fn tokens(&self) -> f64 {
        let mean = |all: &[Sample]| {
            let sum: usize = all.iter().map(|sample| sample.tokens.len()).sum();
            sum as f64 / all.len().max(1) as f64
        };
        let AnchorNeed { harmful, harmless, .. } = self.prompts.need;
        f64::from(harmful) * mean(&self.harmful) + f64::from(harmless) * mean(&self.harmless)
    }
}

/// The anchors of one training.
pub struct AnchorHold<'a> {
    anchors: &'a Anchors,
    /// Of its own: it reads no taps.
    reference: Reference<'a>,
    /// Visits so far.
    pub visits: u64,
    /// What the last one showed; on the root.
    pub seen: Option<AnchorSignals>,
}

impl<'a> AnchorHold<'a> {
    pub fn new(anchors: &'a Anchors, reference: Reference<'a>) -> Self {
        Self { anchors, reference, visits: 0, seen: None }
    }

    /// Adds the gradient of the next anchors under this weight, and returns their loss and the
    /// tokens of their forward. All ranks share the work.
    pub fn visit(
        &mut self,
        spec: &TrainingSpec<'_>,
        layout: &Layout,
        step: u64,
        weight: f64,
        gradient: &mut [f32],
    ) -> Result<(f64, usize)> {
        let (samples, harmful) = self.anchors.visit(self.visits);
        let TrainingSpec { context, adapter, config, ranks, .. } = *spec;
        let shard = ranks.shard(&samples, config.micro_batch());
        let mine = &samples[shard.samples.clone()];
        let each = weight / samples.len() as f64;
        let mut sum = vec![0.0; layout.len()];
        let (mut loss, mut divergence) = (0.0, Vec::new());
        for batch in MicroBatch::divide(mine, shard.micro_batch, false) {
            let known = reference::stack(&self.reference.of(batch.members)?)?;
            let forward = batch.forward(&context.model.decoder, adapter, &[])?;
            let result = match self.anchors.prompts.need.divergence {
                AnchorDivergence::ForwardKl => {
                    let weights = weights(batch.members, each);
                    batch.backward(
                        &context.model.decoder,
                        &forward,
                        Some(&known),
                        &weights,
                        None,
                    )?
                }
                AnchorDivergence::HiddenDistance => {
                    let hidden = batch.answer_rows(&forward)?;
                    let width = hidden.dims()[1] as f64;
                    let squares =
                        ((&hidden - &known)?.to_dtype(DType::F32)?.sqr()?.sum(1)? / width)?;
                    let total = (squares.sum_all()? * each)?;
                    Backward {
                        grads: total.backward()?,
                        loss: f64::from(total.to_scalar::<f32>()?),
                        task: Vec::new(),
                        kl: squares.to_vec1()?,
                    }
                }
            };
            layout.accumulate(&result.grads, &mut sum, step)?;
            loss += result.loss;
            divergence.extend(means(batch.members, &result.kl));
        }
        ranks.sum(&mut sum)?;
        gradient.iter_mut().zip(&sum).for_each(|(total, value)| *total += value);
        let [loss] = ranks.totals([loss])?;
        let divergence = ranks.gather(divergence)?;
        // Rounding may leave a KL a hair below 0.
        let divergence = divergence.iter().map(|value| f64::from(*value).max(0.0)).collect();
        self.seen = Some(AnchorSignals { step, harmful, divergence });
        self.visits += 1;
        Ok((loss, samples.iter().map(|sample| sample.tokens.len()).sum()))
    }
}

/// KL alone, every anchor alike.
fn weights(anchors: &[&Sample], each: f64) -> TokenWeights {
    let of = |anchor: &&Sample| {
        let tokens = anchor.answer_tokens();
        std::iter::repeat_n((each / tokens as f64) as f32, tokens)
    };
    let kl: Vec<f32> = anchors.iter().flat_map(of).collect();
    TokenWeights { task: vec![0.0; kl.len()], kl, constant: 0.0, over_token_set: false }
}

/// The mean of each anchor's values.
fn means(anchors: &[&Sample], values: &[f32]) -> Vec<f32> {
    let mut values = values.iter();
    let of = |anchor: &&Sample| {
        let tokens = anchor.answer_tokens();
        let sum: f64 = values.by_ref().take(tokens).map(|value| f64::from(*value)).sum();
        (sum / tokens as f64) as f32
    };
    anchors.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchors(harmful: usize, harmless: usize, need: [u32; 2]) -> Anchors {
        let prompt = |i: usize| AnchorPrompt { tokens: vec![i as u32; 5], prompt: 3 };
        AnchorPrompts {
            need: AnchorNeed {
                harmful: need[0],
                harmless: need[1],
                answer_tokens: 2,
                divergence: AnchorDivergence::ForwardKl,
            },
            harmful: (0..harmful).map(prompt).collect(),
            harmless: (100..100 + harmless).map(prompt).collect(),
        }
        .into()
    }

    #[test]
    fn anchors_take_turns_and_begin_again() {
        let anchors = anchors(3, 2, [2, 1]);
        let first = |number| {
            let (samples, harmful) = anchors.visit(number);
            assert_eq!(harmful, [true, true, false]);
            samples.iter().map(|sample| sample.tokens[0]).collect::<Vec<u32>>()
        };
        assert_eq!(first(0), [0, 1, 100]);
        assert_eq!(first(1), [2, 0, 101]);
        assert_eq!(first(2), [1, 2, 100]);
        assert_eq!(anchors.tokens(), 15.0);
    }

    #[test]
    fn every_anchor_counts_alike_whatever_its_length() {
        let anchors = anchors(2, 0, [2, 0]);
        let (mut samples, _) = anchors.visit(0);
        let mut short = samples[0].clone();
        short.answer = std::iter::once(4..5).collect();
        samples[0] = &short;
        assert_eq!(weights(&samples, 0.5).kl, [0.5, 0.25, 0.25]);
        assert_eq!(means(&samples, &[1.0, 2.0, 4.0]), [1.0, 3.0]);
    }
}
