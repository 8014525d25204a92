//! The part of an optimizer step that goes through the model at once.

use candle_core::{Tensor, backprop::GradStore};
use host_contract::Tap;
use host_data::{Origin, PackedSamples, Sample, pack};
use host_model::decoder::{Decoder, Forward, HeadRows, Noise, TokenSubset};
use host_model::lora::Lora;

use crate::actuators::objective::TokenWeights;
use crate::config::TrainingNoise;
use crate::error::Result;
use crate::signals::taps::Reading;

pub struct MicroBatch<'a> {
    pub members: &'a [&'a Sample],
    batch: PackedSamples,
    noise: Option<Noise>,
}

/// Loss and gradient of one micro-batch.
pub struct Backward {
    pub grads: GradStore,
    /// Weighted sum, already divided by the tokens of the step.
    pub loss: f64,
    /// Cross-entropy per answer token.
    pub task: Vec<f32>,
    /// KL(reference || current) per answer token; zeros without a reference.
    pub kl: Vec<f32>,
}

impl<'a> MicroBatch<'a> {
    pub fn new(members: &'a [&'a Sample]) -> Self {
        Self { members, batch: pack(members), noise: None }
    }

    /// The samples of a step, at most `size` at once; samples of two origins never
    /// together if `by_origin`.
    pub fn divide(samples: &'a [&'a Sample], size: usize, by_origin: bool) -> Vec<Self> {
        let groups = samples.chunk_by(|one, next| !by_origin || one.origin == next.origin);
        let batches = groups.flat_map(|group| group.chunks(size));
        batches.map(Self::new).collect()
    }

    /// The same with the noise of a step's training passes.
    pub fn noisy(mut self, noise: &TrainingNoise, step: u64) -> Self {
        self.noise = noise.of(step, self.members);
        self
    }

    pub fn origin(&self) -> Origin {
        self.members.first().map_or(Origin::Task, |sample| sample.origin)
    }

    /// Tokens of the forward, prompts included.
    pub fn tokens(&self) -> usize {
        self.batch.packed.tokens.len()
    }

    /// Answer tokens, in the order of the members.
    pub fn labels(&self) -> &[u32] {
        &self.batch.labels
    }

    pub fn forward(
        &self,
        decoder: &Decoder,
        adapter: &Lora,
        current_taps: &[Tap],
    ) -> Result<Forward> {
        let rows = Reading::new(current_taps, self.members).rows();
        let (batch, noise) = (&self.batch.packed, self.noise.as_ref());
        Ok(decoder.forward_noisy(batch, Some(adapter), noise, &rows)?)
    }

    /// Final hidden states of the rows that predict answer tokens, on the graph.
    pub fn answer_rows(&self, forward: &Forward) -> Result<Tensor> {
        let rows = Tensor::new(self.batch.rows.as_slice(), forward.hidden.device())?;
        Ok(forward.hidden.index_select(&rows, 0)?)
    }

    /// ln P of each answer token, without gradient.
    pub fn label_log_probs(&self, decoder: &Decoder, adapter: &Lora) -> Result<Vec<f32>> {
        let forward = decoder.infer(&self.batch.packed, Some(adapter), &[])?;
        Ok(decoder.label_log_probs(&self.answer_rows(&forward)?.detach(), &self.batch.labels)?)
    }

    /// `weights` are those of this micro-batch's answer tokens; the KL is over `subset`, if
    /// there is one.
    pub fn backward(
        &self,
        decoder: &Decoder,
        forward: &Forward,
        reference: Option<&Tensor>,
        weights: &TokenWeights,
        subset: Option<&TokenSubset>,
    ) -> Result<Backward> {
        let hidden = self.answer_rows(forward)?;
        let head = decoder.head_loss(HeadRows {
            hidden: &hidden,
            reference,
            labels: &self.batch.labels,
            task_weights: &weights.task,
            kl_weights: &weights.kl,
            subset,
        })?;
        let loss = f64::from(head.loss.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?);
        Ok(Backward { grads: head.loss.backward()?, loss, task: head.task, kl: head.kl })
    }
}
