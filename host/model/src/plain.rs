//! The decoder in candle operations, for any device and type.
//!
//! Products with frozen weights, norms, rotation, attention and gate are operations
//! with a backward pass of their own (`operation.rs`), everything else is candle's. This
//! path is the oracle the fused kernels are tested against, itself tested against candle's
//! models and central differences, and the one that runs on CUDA. With rounded weights (bf16), what goes into a
//! product is rounded; norms, rotation, softmax, gate, the sums of a projection and its adapter and the residual
//! stream are f32, as are the adapter and its gradients.

mod attention;
mod band;
mod block;
mod checkpoint;
mod experts;
mod factors;
mod gated;
mod linear;
mod model;
mod norm;
mod packing;
mod rotate;
mod taps;

use std::sync::Arc;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::head::{LossHead, plain as head};
use crate::lora::Lora;
use crate::operation::wide;
use crate::pass::{
    Forward, HeadLoss, HeadRows, Implementation, KvCache, Noise, Overlay, Packed, PlainCache,
    Store, TapRows,
};
use block::Block;
use factors::Factors;
pub(crate) use model::PlainModel;
use norm::rms_norm;
use packing::{Newest, Packing};
use taps::TapMeans;

impl PlainModel {
    /// Embeds and runs the first `layers` blocks without gradient, and gives the stream.
    /// `visit` sees it on the way with the number of blocks behind it, and the last one's
    /// keys and values.
    fn off_graph(
        &self,
        batch: &Packed,
        overlay: Overlay,
        layers: usize,
        mut visit: impl FnMut(usize, &Tensor, Option<(Tensor, Tensor)>) -> Result<()>,
    ) -> Result<Tensor> {
        let packing = Packing::new(self, batch, None)?;
        let mut stream = steer(overlay, 0, self.embed(&batch.tokens)?)?;
        visit(0, &stream, None)?;
        for layer in 0..layers {
            let factors = Factors::of(overlay.adapter, layer).detached()?;
            let (next, keys) = Block::new(self, layer).forward(&stream, &factors, &packing)?;
            stream = steer(overlay, layer + 1, next)?;
            visit(layer + 1, &stream, Some(keys))?;
        }
        Ok(stream)
    }

    fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        let rows = wide(&self.weights.embed.select(tokens)?)?;
        match self.config.scales.embedding {
            1.0 => Ok(rows),
            scale => Ok((rows * scale)?),
        }
    }

    fn with_head<T>(&self, run: impl FnOnce(&LossHead<Tensor>) -> Result<T>) -> Result<T> {
        let matrix = self.weights.head_matrix().tensor()?;
        run(&LossHead { matrix: &matrix, finish: self.config.logits })
    }

    fn finish(&self, stream: &Tensor) -> Result<Tensor> {
        let eps = self.config.rms_norm_eps;
        Ok(rms_norm(stream, &self.final_norm, eps, self.weights.dtype())?)
    }
}

impl Implementation for PlainModel {
    fn forward(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
        noise: Option<&Noise>,
        taps: &[TapRows],
        recompute: bool,
    ) -> Result<Forward> {
        let packing = Arc::new(Packing::new(self, batch, noise)?);
        let mut stream = packing.embed(self.embed(&batch.tokens)?)?;
        let mut means = TapMeans::new(taps);
        means.add(&stream, 0)?;
        for layer in 0..self.config.num_layers {
            let block = Block::new(self, layer);
            let factors = Factors::of(adapter, layer);
            stream = if recompute {
                checkpoint::forward(block, &stream, &factors, &packing)?
            } else {
                block.forward(&stream, &factors, &packing)?.0
            };
            means.add(&stream, layer + 1)?;
        }
        Ok(Forward { hidden: self.finish(&stream)?, taps: means.read()? })
    }

    fn infer(&self, batch: &Packed, overlay: Overlay, taps: &[TapRows]) -> Result<Forward> {
        let layers = self.config.num_layers;
        let mut means = TapMeans::new(taps);
        let stream = self
            .off_graph(batch, overlay, layers, |layer, stream, _| Ok(means.add(stream, layer)?))?;
        Ok(Forward { hidden: self.finish(&stream)?, taps: means.read()? })
    }

    fn forward_taps(
        &self,
        batch: &Packed,
        overlay: Overlay,
        taps: &[TapRows],
    ) -> Result<Vec<Vec<f32>>> {
        let deepest = taps.iter().map(|tap| tap.layer).max().unwrap_or(0);
        let mut means = TapMeans::new(taps);
        self.off_graph(batch, overlay, deepest, |layer, stream, _| Ok(means.add(stream, layer)?))?;
        Ok(means.read()?)
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.with_head(|head| head::logits(head, hidden))
    }

    fn label_log_probs(&self, hidden: &Tensor, labels: &[u32]) -> Result<Vec<f32>> {
        self.with_head(|head| head::label_log_probs(head, hidden, labels))
    }

    fn head_loss(&self, rows: &HeadRows) -> Result<HeadLoss> {
        self.with_head(|head| head::loss(head, rows))
    }

    fn prefill(&self, batch: &Packed, overlay: Overlay) -> Result<(Tensor, KvCache)> {
        let mut caches = Vec::new();
        let layers = self.config.num_layers;
        let stream = self.off_graph(batch, overlay, layers, |_, _, keys| {
            if let Some((k, v)) = keys {
                caches.push((pad_left(&k, batch)?, pad_left(&v, batch)?));
            }
            Ok(())
        })?;
        let last: Vec<u32> = batch.starts[1..].iter().map(|end| *end as u32 - 1).collect();
        let last = Tensor::new(last, self.weights.device())?;
        let hidden = self.finish(&stream.index_select(&last, 0)?)?;
        let lengths: Vec<usize> = batch.sequences().map(|rows| rows.len()).collect();
        let store = Store::Plain(PlainCache { layers: caches });
        Ok((hidden, KvCache::new(lengths, store)))
    }

    fn decode_step(&self, tokens: &[u32], cache: &mut KvCache, overlay: Overlay) -> Result<Tensor> {
        let lengths: Vec<usize> = cache.lengths().iter().map(|length| length + 1).collect();
        let newest = Newest::new(self, &lengths)?;
        let Store::Plain(store) = &mut cache.store else {
            return Err(Error::Kernels {
                kernels: "plain",
                problem: "the cache was made by other kernels".into(),
                action: "prefill with the decoder that generates".into(),
            });
        };
        let mut stream = steer(overlay, 0, self.embed(tokens)?)?;
        for (layer, cache) in store.layers.iter_mut().enumerate() {
            let factors = Factors::of(overlay.adapter, layer).detached()?;
            let block = Block::new(self, layer);
            let next = block.forward_cached(&stream, &factors, &newest, cache)?;
            stream = steer(overlay, layer + 1, next)?;
        }
        cache.grow();
        self.finish(&stream)
    }
}

fn steer(overlay: Overlay, layer: usize, stream: Tensor) -> Result<Tensor> {
    match overlay.steering {
        Some(steering) => steering.add_to(layer, stream),
        None => Ok(stream),
    }
}

/// [rows, kv heads, head_dim] -> [sequences, kv heads, longest, head_dim].
fn pad_left(packed: &Tensor, batch: &Packed) -> Result<Tensor> {
    let longest = batch.sequences().map(|rows| rows.len()).max().unwrap_or(0);
    let padded = batch
        .sequences()
        .map(|rows| {
            let sequence = packed.narrow(0, rows.start, rows.len())?.transpose(0, 1)?;
            sequence.pad_with_zeros(1, longest - rows.len(), 0)
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    Ok(Tensor::stack(&padded, 0)?.contiguous()?)
}
