//! The decoder in hand-written kernels: CPU, weights in f32 or bf16.
//!
//! One custom operation spans all blocks. Its argument is the adapter as one
//! flat vector, so a frozen weight can get no gradient, and its backward pass
//! walks the blocks with the tapes the forward pass left.

mod adapter;
mod backward;
mod branch;
mod decode;
mod ends;
mod experts;
mod footprint;
mod forward;
mod frozen;
mod layer;
mod lengths;
mod operation;
mod projection;
mod routes;
mod scratch;
mod shape;
mod shared_rows;
mod tape;
mod tape_pool;

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::config::Config;
use crate::error::Result;
use crate::head::fused as head;
use crate::lora::Lora;
use crate::pass::{
    Forward, HeadLoss, HeadRows, Implementation, KvCache, MicroBatchShape, Noise, Overlay, Packed,
    StepMemory, TapRows,
};
use crate::weights::Weights;
use adapter::Flat;
use frozen::Frozen;
use operation::Operation;
use shape::Shape;

/// A model that the kernels run.
pub(crate) struct FusedModel(Arc<Frozen>);

impl FusedModel {
    pub fn new(config: Arc<Config>, weights: &Weights) -> Result<Self> {
        Ok(Self(Arc::new(Frozen::new(config, weights)?)))
    }
}

impl Implementation for FusedModel {
    fn forward(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
        noise: Option<&Noise>,
        taps: &[TapRows],
        recompute: bool,
    ) -> Result<Forward> {
        let Some(adapter) = adapter else {
            return self.infer(batch, Overlay::default(), taps);
        };
        let flat = Flat::new(adapter);
        let vector = Flat::tensor(adapter)?;
        let (operation, found) =
            Operation::run(&self.0, (batch, noise), flat, &vector, taps, recompute)?;
        Ok(Forward { hidden: vector.apply_op1(operation)?, taps: found })
    }

    fn infer(&self, batch: &Packed, overlay: Overlay, taps: &[TapRows]) -> Result<Forward> {
        let (layers, width) = (self.0.config.num_layers, self.0.config.hidden_size);
        let shape = Shape::new(&self.0.config, batch);
        let trace = self.0.infer(&shape, overlay, taps, layers)?;
        let hidden = shape.shared.spread(self.0.normed(&trace.stream)?, width).into_owned();
        let hidden = Tensor::from_vec(hidden, (batch.rows(), width), &Device::Cpu)?;
        Ok(Forward { hidden, taps: trace.taps })
    }

    fn forward_taps(
        &self,
        batch: &Packed,
        overlay: Overlay,
        taps: &[TapRows],
    ) -> Result<Vec<Vec<f32>>> {
        let deepest = taps.iter().map(|tap| tap.layer).max().unwrap_or(0);
        let shape = Shape::new(&self.0.config, batch);
        Ok(self.0.infer(&shape, overlay, taps, deepest)?.taps)
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        head::logits(&self.0.loss_head(), hidden)
    }

    fn label_log_probs(&self, hidden: &Tensor, labels: &[u32]) -> Result<Vec<f32>> {
        head::label_log_probs(&self.0.loss_head(), hidden, labels)
    }

    fn head_loss(&self, rows: &HeadRows) -> Result<HeadLoss> {
        head::loss(&self.0.loss_head(), rows)
    }

    fn prefill(&self, batch: &Packed, overlay: Overlay) -> Result<(Tensor, KvCache)> {
        self.0.prefill(batch, overlay)
    }

    fn decode_step(&self, tokens: &[u32], cache: &mut KvCache, overlay: Overlay) -> Result<Tensor> {
        self.0.decode_step(tokens, cache, overlay)
    }

    fn release(&self) {
        self.0.tapes.clear();
    }

    fn step_memory(
        &self,
        adapter: &Lora,
        shape: &MicroBatchShape,
        recompute: bool,
    ) -> Option<StepMemory> {
        Some(self.0.step_memory(adapter, shape, recompute))
    }
}
