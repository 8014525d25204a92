//! What a pass is computed by.

use candle_core::Tensor;

use super::{
    Forward, HeadLoss, HeadRows, KvCache, MicroBatchShape, Overlay, Packed, StepMemory, TapRows,
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

/// Code that computes passes of one model, on batches and adapters that were checked. What each
/// call takes and gives is said at the decoder's method of that name.
pub(crate) trait Implementation: Send + Sync {
    /// With a graph of the adapter; with `recompute`, blocks keep their inputs alone.
    fn forward(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
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

    /// Gives back what steps leave for the next one.
    fn release(&self) {}

    /// None where a library decides it.
    fn step_memory(
        &self,
        _adapter: &Lora,
        _shape: &MicroBatchShape,
        _recompute: bool,
    ) -> Option<StepMemory> {
        None
    }
}
