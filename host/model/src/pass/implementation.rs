//! The trait of the implementations of a decoder.

use candle_core::Tensor;

use super::{
    Forward, HeadLoss, HeadRows, KvCache, MicroBatchShape, Noise, Overlay, Packed, StepMemory,
    TapRows,
};
use crate::error::Result;
use crate::lora::Lora;

/// Which code computes the forward and backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// Hand-written kernels with their own backward pass: CPU, weights in f32 or bf16.
    Fused,
    /// Operations of candle's: any device and type; the test oracle.
    Plain,
}

/// Code that computes passes of one model, on batches and adapters that were checked. See
/// the methods of [`crate::Decoder`] with the same names.
pub(crate) trait Implementation: Send + Sync {
    /// With a graph of the adapter; with `recompute`, blocks keep only their inputs.
    fn forward(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
        noise: Option<&Noise>,
        taps: &[TapRows],
        recompute: bool,
    ) -> Result<Forward>;

    fn infer(&self, batch: &Packed, overlay: Overlay, taps: &[TapRows]) -> Result<Forward>;

    fn forward_taps(
        &self,
        batch: &Packed,
        overlay: Overlay,
        taps: &[TapRows],
    ) -> Result<Vec<Vec<f32>>>;

    fn logits(&self, hidden: &Tensor) -> Result<Tensor>;

    fn label_log_probs(&self, hidden: &Tensor, labels: &[u32]) -> Result<Vec<f32>>;

    fn head_loss(&self, rows: &HeadRows) -> Result<HeadLoss>;

    fn prefill(&self, batch: &Packed, overlay: Overlay) -> Result<(Tensor, KvCache)>;

    fn decode_step(&self, tokens: &[u32], cache: &mut KvCache, overlay: Overlay) -> Result<Tensor>;

    /// Frees memory that is reused from step to step.
    fn release(&self) {}

    /// Memory of a step; none if a library decides it.
    fn step_memory(
        &self,
        _adapter: &Lora,
        _shape: &MicroBatchShape,
        _recompute: bool,
    ) -> Option<StepMemory> {
        None
    }
}
