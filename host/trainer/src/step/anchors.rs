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
//! Where they can, they go through the model with the last micro-batch, whose system message is
//! mostly theirs (`state/differentiate.rs`); else in a pass of their own.

use candle_core::{DType, Tensor};
use host_contract::{AnchorDivergence, AnchorSignals};
use host_data::{Sample, answer_offsets};
use host_model::decoder::Decoder;

use super::context::TrainingSpec;
use super::micro_batch::{MicroBatch, scalar};
use crate::actuators::objective::TokenWeights;
use crate::actuators::safety_anchors::Anchors;
use crate::error::Result;
use crate::parameters::Layout;
use crate::ranks::Ranks;
use crate::signals::readout::sample_means;
use crate::signals::reference::{self, Reference};

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

/// The anchors of one visit.
pub struct Visit<'a> {
    /// Of this rank's share, those that have not gone through the model yet.
    mine: Vec<&'a Sample>,
    /// Tokens of all.
    tokens: usize,
    harmful: Vec<bool>,
    micro_batch: usize,
    /// The weight of one anchor.
    each: f64,
    /// Of this rank's, as far as they went through the model.
    divergence: Vec<f32>,
}

impl<'a> Visit<'a> {
    /// Whether there is a share of this rank's that can go through the model with a micro-batch.
    pub fn fits_beside(&self, batch: &MicroBatch<'_>) -> bool {
        let tokens: usize = self.mine.iter().map(|sample| sample.tokens.len()).sum();
        tokens > 0 && batch.takes_others() && fit_beside(tokens, batch.tokens())
    }

    pub fn take(&mut self) -> Vec<&'a Sample> {
        std::mem::take(&mut self.mine)
    }
}

impl<'a> AnchorHold<'a> {
    pub fn new(anchors: &'a Anchors, reference: Reference<'a>) -> Self {
        Self { anchors, reference, visits: 0, seen: None }
    }

    /// The next anchors, under this weight.
    pub fn next(&self, spec: &TrainingSpec<'_>, weight: f64) -> Visit<'a> {
        let (samples, harmful) = self.anchors.visit(self.visits);
        let shard = spec.ranks.shard(&samples, spec.config.micro_batch());
        Visit {
            mine: samples[shard.samples].to_vec(),
            tokens: samples.iter().map(|sample| sample.tokens.len()).sum(),
            each: weight / samples.len() as f64,
            micro_batch: shard.micro_batch,
            harmful,
            divergence: Vec::new(),
        }
    }

    /// What is left of this rank's share in a pass of its own: adds its gradient and returns its
    /// loss.
    pub fn pass(
        &mut self,
        visit: &mut Visit<'_>,
        spec: &TrainingSpec<'_>,
        layout: &Layout,
        step: u64,
        gradient: &mut [f32],
    ) -> Result<f64> {
        let decoder = &spec.context.model.decoder;
        let mine = visit.take();
        let mut sum = 0.0;
        for batch in MicroBatch::divide(&mine, visit.micro_batch, false) {
            let forward = batch.forward(decoder, spec.adapter, &[])?;
            let hidden = batch.answer_rows(&forward)?;
            let loss = self.loss(visit, decoder, &batch, &hidden)?;
            sum += scalar(&loss)?;
            layout.accumulate(&loss.backward()?, gradient, step)?;
        }
        Ok(sum)
    }

    /// The loss of these anchors of the visit, whose answer rows are given.
    pub fn loss(
        &mut self,
        visit: &mut Visit<'_>,
        decoder: &Decoder,
        anchors: &MicroBatch<'_>,
        hidden: &Tensor,
    ) -> Result<Tensor> {
        let members = anchors.members;
        let known = reference::stack(&self.reference.of(members)?)?;
        let (loss, divergence) = match self.anchors.prompts.need.divergence {
            AnchorDivergence::ForwardKl => {
                let weights = weights(members, visit.each);
                let head = anchors.head(decoder, hidden, Some(&known), &weights, None)?;
                (head.loss, head.kl)
            }
            AnchorDivergence::HiddenDistance => {
                let width = hidden.dims()[1] as f64;
                let squares = ((hidden - &known)?.to_dtype(DType::F32)?.sqr()?.sum(1)? / width)?;
                ((squares.sum_all()? * visit.each)?, squares.to_vec1()?)
            }
        };
        let means = sample_means(&answer_offsets(members), &divergence);
        visit.divergence.extend(means.into_iter().map(|mean| mean as f32));
        Ok(loss)
    }

    /// Takes note of what a visit showed, on the root; returns the tokens of its forward.
    pub fn close(&mut self, visit: Visit<'_>, ranks: &Ranks, step: u64) -> Result<usize> {
        // Rounding may leave a KL a hair below 0.
        let divergence = ranks.gather(visit.divergence)?;
        let divergence = divergence.iter().map(|value| f64::from(*value).max(0.0)).collect();
        self.seen = Some(AnchorSignals { step, harmful: visit.harmful, divergence });
        self.visits += 1;
        Ok(visit.tokens)
    }
}

/// Whether anchors of so many tokens go through the model with a micro-batch of so many: where
/// they don't take much more memory.
pub fn fit_beside(anchors: usize, batch: usize) -> bool {
    2 * anchors <= batch
}

/// KL alone, every anchor alike.
fn weights(anchors: &[&Sample], each: f64) -> TokenWeights {
    let of = |anchor: &&Sample| {
        let tokens = anchor.answer_tokens();
        std::iter::repeat_n((each / tokens as f64) as f32, tokens)
    };
    let kl: Vec<f32> = anchors.iter().flat_map(of).collect();
    TokenWeights { task: vec![0.0; kl.len()], kl, constant: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_anchor_counts_alike_whatever_its_length() {
        let with = |answer: std::ops::Range<usize>| {
            let mut sample = Sample::prompt_only(vec![1; 5]);
            (sample.prompt_len, sample.answer) = (3, std::iter::once(answer).collect());
            sample
        };
        let (short, long) = (with(4..5), with(3..5));
        let samples = [&short, &long];
        assert_eq!(weights(&samples, 0.5).kl, [0.5, 0.25, 0.25]);
        assert_eq!(sample_means(&answer_offsets(&samples), &[1.0, 2.0, 4.0]), [1.0, 3.0]);
    }
}
