//! The decoder in candle operations that all have a backward pass.
//!
//! candle's fused softmax, norm and rotation have none and would cut the graph
//! without a word, so they are composed here. This path is the oracle the fused
//! kernels are tested against, and the one that runs on CUDA.

mod attention;
mod block;

use candle_core::{DType, Tensor};

use crate::decoder::{Angles, Decoder, Forward, KvCache, Packed, PlainCache, Store, TapRows};
use crate::error::{Error, Result};
use crate::lora::Lora;
use block::{Block, rms_norm};

pub(crate) fn forward(
    decoder: &Decoder,
    batch: &Packed,
    adapter: Option<&Lora>,
    taps: &[TapRows],
) -> Result<Forward> {
    let layers = decoder.config.num_layers;
    let pass = run(decoder, batch, adapter, taps, layers, None)?;
    let eps = decoder.config.rms_norm_eps;
    let hidden = rms_norm(&pass.stream, &decoder.weights.final_norm, eps)?;
    Ok(Forward {
        hidden,
        taps: pass.taps,
    })
}

pub(crate) fn forward_taps(
    decoder: &Decoder,
    batch: &Packed,
    adapter: Option<&Lora>,
    taps: &[TapRows],
) -> Result<Vec<Vec<f32>>> {
    let deepest = taps.iter().map(|tap| tap.layer).max().unwrap_or(0);
    Ok(run(decoder, batch, adapter, taps, deepest, None)?.taps)
}

struct Pass {
    stream: Tensor,
    taps: Vec<Vec<f32>>,
}

/// Embeds and runs the first `layers` blocks; collects (k, v) [rows, kv heads,
/// head_dim] per layer if `keys` is given.
fn run(
    decoder: &Decoder,
    batch: &Packed,
    adapter: Option<&Lora>,
    taps: &[TapRows],
    layers: usize,
    mut keys: Option<&mut Vec<(Tensor, Tensor)>>,
) -> Result<Pass> {
    let rows = batch
        .sequences()
        .flat_map(|rows| (0..rows.len()).map(move |position| (position, rows.len())));
    let (cos, sin) = rotation(decoder, Angles::new(&decoder.config, rows))?;
    let mut stream = embed(decoder, &batch.tokens)?;
    let mut found = vec![Vec::new(); taps.len()];
    read_taps(&stream, 0, taps, &mut found)?;
    for layer in 0..layers {
        let block = Block::new(decoder, adapter, layer);
        let (q, k, v) = block.project(&stream, &cos, &sin)?;
        let mixed = block.attend(&q, &k, &v, batch)?;
        stream = block.finish(&stream, &mixed)?;
        if let Some(keys) = keys.as_deref_mut() {
            keys.push((k.detach(), v.detach()));
        }
        read_taps(&stream, layer + 1, taps, &mut found)?;
    }
    Ok(Pass {
        stream,
        taps: found,
    })
}

fn embed(decoder: &Decoder, tokens: &[u32]) -> Result<Tensor> {
    let ids = Tensor::new(tokens, decoder.weights.device())?;
    Ok(decoder.weights.embed.index_select(&ids, 0)?)
}

/// cos and sin as [rows, 1, half] in the type of the weights.
fn rotation(decoder: &Decoder, angles: Angles) -> Result<(Tensor, Tensor)> {
    let table = |values: Vec<f32>| -> Result<Tensor> {
        let rows = values.len() / angles.half;
        let table = Tensor::from_vec(values, (rows, 1, angles.half), decoder.weights.device())?;
        Ok(table.to_dtype(decoder.weights.dtype())?)
    };
    Ok((table(angles.cos)?, table(angles.sin)?))
}

fn read_taps(
    stream: &Tensor,
    layer: usize,
    taps: &[TapRows],
    found: &mut [Vec<f32>],
) -> Result<()> {
    for (tap, values) in taps.iter().zip(found) {
        if tap.layer != layer {
            continue;
        }
        for rows in &tap.rows {
            let selected = stream.detach().narrow(0, rows.start, rows.len())?;
            let mean = selected.to_dtype(DType::F32)?.mean(0)?;
            values.extend(mean.to_vec1::<f32>()?);
        }
    }
    Ok(())
}

pub(crate) fn prefill(
    decoder: &Decoder,
    batch: &Packed,
    adapter: Option<&Lora>,
) -> Result<(Tensor, KvCache)> {
    let mut keys = Vec::new();
    let layers = decoder.config.num_layers;
    let pass = run(decoder, batch, adapter, &[], layers, Some(&mut keys))?;
    let last: Vec<u32> = batch.starts[1..]
        .iter()
        .map(|end| *end as u32 - 1)
        .collect();
    let last = Tensor::new(last, decoder.weights.device())?;
    let rows = pass.stream.detach().index_select(&last, 0)?;
    let eps = decoder.config.rms_norm_eps;
    let hidden = rms_norm(&rows, &decoder.weights.final_norm, eps)?;
    let lengths: Vec<usize> = batch.sequences().map(|rows| rows.len()).collect();
    let layers = keys
        .iter()
        .map(|(k, v)| Ok((pad_left(k, batch)?, pad_left(v, batch)?)))
        .collect::<Result<Vec<_>>>()?;
    let store = Store::Plain(PlainCache { layers });
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
    adapter: Option<&Lora>,
) -> Result<Tensor> {
    let rows = cache.lengths().iter().map(|length| (*length, length + 1));
    let (cos, sin) = rotation(decoder, Angles::new(&decoder.config, rows))?;
    cache.grow();
    let lengths = cache.lengths().to_vec();
    let Store::Plain(store) = &mut cache.store else {
        return Err(Error::Kernels {
            kernels: "plain",
            problem: "the cache was made by other kernels".into(),
            action: "prefill with the decoder that generates".into(),
        });
    };
    let mut stream = embed(decoder, tokens)?;
    for layer in 0..decoder.config.num_layers {
        let block = Block::new(decoder, adapter, layer);
        let (q, k, v) = block.project(&stream, &cos, &sin)?;
        let mixed = block.attend_cached(&q, &k, &v, &mut store.layers[layer], &lengths)?;
        stream = block.finish(&stream, &mixed)?.detach();
    }
    let eps = decoder.config.rms_norm_eps;
    rms_norm(&stream, &decoder.weights.final_norm, eps)
}
