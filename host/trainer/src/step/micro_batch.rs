//! The part of an optimizer step that goes through the model at once.

use candle_core::{DType, Tensor};
use host_contract::Tap;
use host_data::{Origin, PackedSamples, Sample, pack};
use host_model::decoder::{Decoder, Forward, HeadLoss, HeadRows, Noise, TokenSubset};
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

    /// The loss of answer rows of this micro-batch. `weights` are those of its answer tokens;
    /// the KL is over `subset`, if there is one.
    pub fn head(
        &self,
        decoder: &Decoder,
        hidden: &Tensor,
        reference: Option<&Tensor>,
        weights: &TokenWeights,
        subset: Option<&TokenSubset>,
    ) -> Result<HeadLoss> {
        Ok(decoder.head_loss(HeadRows {
            hidden,
            reference,
            labels: &self.batch.labels,
            task_weights: &weights.task,
            kl_weights: &weights.kl,
            subset,
        })?)
    }

    /// Whether other samples can go through the model with these: not where a pass has noise,
    /// which is drawn for its samples.
    pub fn takes_others(&self) -> bool {
        self.noise.is_none()
    }
}

/// The value of a loss.
pub fn scalar(loss: &Tensor) -> Result<f64> {
    Ok(f64::from(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?))
}
