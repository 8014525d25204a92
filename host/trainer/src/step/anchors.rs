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
use host_contract::{AnchorDivergence, AnchorSignals};
use host_data::{Sample, answer_offsets};

use super::context::TrainingSpec;
use super::micro_batch::{Backward, MicroBatch};
use crate::actuators::objective::TokenWeights;
use crate::actuators::safety_anchors::Anchors;
use crate::error::Result;
use crate::parameters::{Layout, add};
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
            let means = sample_means(&answer_offsets(batch.members), &result.kl);
            divergence.extend(means.into_iter().map(|mean| mean as f32));
        }
        ranks.sum(&mut sum)?;
        add(gradient, &sum);
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
