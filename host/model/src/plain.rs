//! The decoder in candle operations, for any device and type.
//!
//! Products with frozen weights, norms, rotation, softmax and gate are operations
//! with a backward pass of their own (`plain/operation.rs`), everything else is
//! candle's. This path is the oracle the fused kernels are tested against, itself
//! tested against candle's models and central differences, and the one that runs on
//! CUDA. With rounded weights (bf16), products and the residual stream are rounded,
//! norms, rotation, softmax and gate are computed in f32, the adapter and its
//! gradients are f32.

mod attention;
mod block;
mod checkpoint;
mod factors;
mod gated;
mod linear;
mod norm;
mod operation;
mod packing;
mod rotate;
mod taps;

use std::sync::Arc;

use candle_core::Tensor;

use crate::decoder::{Applied, Decoder, Forward, KvCache, Packed, PlainCache, Store, TapRows};
use crate::error::{Error, Result};
use crate::lora::Lora;
use block::Block;
use factors::Factors;
use norm::rms_norm;
pub(crate) use operation::unary;
use packing::{Newest, Packing};
use taps::Means;

pub(crate) fn forward(
    decoder: &Decoder,
    batch: &Packed,
    adapter: Option<&Lora>,
    taps: &[TapRows],
) -> Result<Forward> {
    let packing = Arc::new(Packing::new(decoder, batch)?);
    let mut stream = embed(decoder, &batch.tokens)?;
    let mut means = Means::new(taps);
    means.add(&stream, 0)?;
    for layer in 0..decoder.config.num_layers {
        let block = Block::new(decoder, layer);
        let factors = Factors::of(adapter, layer);
        stream = match decoder.recompute {
            true => checkpoint::forward(block, &stream, &factors, &packing)?,
            false => block.forward(&stream, &factors, &packing)?.0,
        };
        means.add(&stream, layer + 1)?;
    }
    Ok(Forward { hidden: finish(decoder, &stream)?, taps: means.read()? })
}

pub(crate) fn infer(
    decoder: &Decoder,
    batch: &Packed,
    applied: Applied,
    taps: &[TapRows],
) -> Result<Forward> {
    let layers = decoder.config.num_layers;
    let mut means = Means::new(taps);
    let stream = off_graph(decoder, batch, applied, layers, |layer, stream, _| {
        Ok(means.add(stream, layer)?)
    })?;
    Ok(Forward { hidden: finish(decoder, &stream)?, taps: means.read()? })
}

pub(crate) fn forward_taps(
    decoder: &Decoder,
    batch: &Packed,
    applied: Applied,
    taps: &[TapRows],
) -> Result<Vec<Vec<f32>>> {
    let deepest = taps.iter().map(|tap| tap.layer).max().unwrap_or(0);
    let mut means = Means::new(taps);
    off_graph(decoder, batch, applied, deepest, |layer, stream, _| Ok(means.add(stream, layer)?))?;
    Ok(means.read()?)
}

/// Embeds and runs the first `layers` blocks without gradient, and gives the stream.
/// `visit` sees it on the way with the number of blocks behind it, and the last one's
/// keys and values.
fn off_graph(
    decoder: &Decoder,
    batch: &Packed,
    applied: Applied,
    layers: usize,
    mut visit: impl FnMut(usize, &Tensor, Option<(Tensor, Tensor)>) -> Result<()>,
) -> Result<Tensor> {
    let packing = Packing::new(decoder, batch)?;
    let mut stream = steer(applied, 0, embed(decoder, &batch.tokens)?)?;
    visit(0, &stream, None)?;
    for layer in 0..layers {
        let factors = Factors::of(applied.adapter, layer).detached()?;
        let (next, keys) = Block::new(decoder, layer).forward(&stream, &factors, &packing)?;
        stream = steer(applied, layer + 1, next)?;
        visit(layer + 1, &stream, Some(keys))?;
    }
    Ok(stream)
}

fn steer(applied: Applied, layer: usize, stream: Tensor) -> Result<Tensor> {
    match applied.steering {
        Some(steering) => steering.add_to(layer, stream),
        None => Ok(stream),
    }
}

fn embed(decoder: &Decoder, tokens: &[u32]) -> Result<Tensor> {
    let ids = Tensor::new(tokens, decoder.weights.device())?;
    Ok(decoder.weights.embed.index_select(&ids, 0)?)
}

fn finish(decoder: &Decoder, stream: &Tensor) -> Result<Tensor> {
    let eps = decoder.config.rms_norm_eps;
    Ok(rms_norm(stream, &decoder.weights.final_norm, eps)?)
}

pub(crate) fn prefill(
    decoder: &Decoder,
    batch: &Packed,
    applied: Applied,
) -> Result<(Tensor, KvCache)> {
    let mut caches = Vec::new();
    let layers = decoder.config.num_layers;
    let stream = off_graph(decoder, batch, applied, layers, |_, _, keys| {
        if let Some((k, v)) = keys {
            caches.push((pad_left(&k, batch)?, pad_left(&v, batch)?));
        }
        Ok(())
    })?;
    let last: Vec<u32> = batch.starts[1..].iter().map(|end| *end as u32 - 1).collect();
    let last = Tensor::new(last, decoder.weights.device())?;
    let hidden = finish(decoder, &stream.index_select(&last, 0)?)?;
    let lengths: Vec<usize> = batch.sequences().map(|rows| rows.len()).collect();
    let store = Store::Plain(PlainCache { layers: caches });
    Ok((hidden, KvCache::new(lengths, store)))
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

pub(crate) fn decode_step(
    decoder: &Decoder,
    tokens: &[u32],
    cache: &mut KvCache,
    applied: Applied,
) -> Result<Tensor> {
    let lengths: Vec<usize> = cache.lengths().iter().map(|length| length + 1).collect();
    let newest = Newest::new(decoder, &lengths)?;
    let Store::Plain(store) = &mut cache.store else {
        return Err(Error::Kernels {
            kernels: "plain",
            problem: "the cache was made by other kernels".into(),
            action: "prefill with the decoder that generates".into(),
        });
    };
    let mut stream = steer(applied, 0, embed(decoder, tokens)?)?;
    for (layer, cache) in store.layers.iter_mut().enumerate() {
        let factors = Factors::of(applied.adapter, layer).detached()?;
        let block = Block::new(decoder, layer);
        let next = block.forward_cached(&stream, &factors, &newest, cache)?;
        stream = steer(applied, layer + 1, next)?;
    }
    cache.grow();
    finish(decoder, &stream)
}
