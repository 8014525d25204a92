//! Causal attention with grouped keys, composed of differentiable operations.

use candle_core::{D, DType, Device, Tensor};

use crate::decoder::Packed;
use crate::error::Result;

/// q [rows, heads, d], k and v [rows, kv heads, d] -> [rows, heads * d], every
/// sequence on its own; neighbours of equal length go together.
pub(super) fn packed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    batch: &Packed,
    window: Option<usize>,
) -> Result<Tensor> {
    let lengths: Vec<usize> = batch.sequences().map(|rows| rows.len()).collect();
    let mut outputs = Vec::new();
    let mut start = 0;
    for run in lengths.chunk_by(|a, b| a == b) {
        let (count, length) = (run.len(), run[0]);
        let split = |x: &Tensor| -> Result<Tensor> {
            let (_, heads, size) = x.dims3()?;
            let rows = x.narrow(0, start, count * length)?;
            let rows = rows.reshape((count, length, heads, size))?;
            Ok(rows.transpose(1, 2)?.contiguous()?)
        };
        let mask = causal_mask(length, window, q.dtype(), q.device())?;
        let mixed = attend(&split(q)?, &split(k)?, &split(v)?, &mask)?;
        let mixed = mixed.transpose(1, 2)?.contiguous()?;
        outputs.push(mixed.reshape((count * length, ()))?);
        start += count * length;
    }
    Ok(Tensor::cat(&outputs, 0)?)
}

/// One new row per sequence: q [sequences, heads, d], k and v [sequences,
/// kv heads, d]. `lengths` already count the new row.
pub(super) fn cached(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cache: &mut (Tensor, Tensor),
    lengths: &[usize],
    window: Option<usize>,
) -> Result<Tensor> {
    let join = |old: &Tensor, new: &Tensor| -> Result<Tensor> {
        Ok(Tensor::cat(&[old, &new.detach().unsqueeze(2)?], 2)?)
    };
    *cache = (join(&cache.0, k)?, join(&cache.1, v)?);
    let longest = cache.0.dims()[2];
    let mask: Vec<f32> = lengths
        .iter()
        .flat_map(|length| {
            let seen = window.map_or(*length, |window| window.min(*length));
            (0..longest).map(move |key| hidden_unless(key >= longest - seen))
        })
        .collect();
    let mask = Tensor::from_vec(mask, (lengths.len(), 1, 1, longest), q.device())?;
    let mixed = attend(
        &q.unsqueeze(2)?,
        &cache.0,
        &cache.1,
        &mask.to_dtype(q.dtype())?,
    )?;
    Ok(mixed.reshape((lengths.len(), ()))?)
}

fn hidden_unless(visible: bool) -> f32 {
    if visible { 0.0 } else { f32::NEG_INFINITY }
}

/// A query sees itself and the keys before it, `window` of them at most.
fn causal_mask(
    length: usize,
    window: Option<usize>,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let window = window.unwrap_or(length);
    let mask: Vec<f32> = (0..length)
        .flat_map(|query| {
            (0..length).map(move |key| hidden_unless(key <= query && query - key < window))
        })
        .collect();
    let mask = Tensor::from_vec(mask, (1, 1, length, length), device)?;
    Ok(mask.to_dtype(dtype)?)
}

/// q [b, heads, t, d], k and v [b, kv heads, s, d], mask broadcast to
/// [b, heads, t, s] -> [b, heads, t, d].
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (b, heads, t, d) = q.dims4()?;
    let (_, kv_heads, s, _) = k.dims4()?;
    let group = heads / kv_heads;
    // Queries of one group become rows of one product: keys are never repeated.
    let grouped = q.reshape((b, kv_heads, group * t, d))?.contiguous()?;
    let scores = (grouped.matmul(&k.transpose(2, 3)?.contiguous()?)? * (d as f64).powf(-0.5))?;
    let scores = scores.reshape((b, heads, t, s))?.broadcast_add(mask)?;
    let probabilities = softmax(&scores)?.reshape((b, kv_heads, group * t, s))?;
    Ok(probabilities
        .matmul(&v.contiguous()?)?
        .reshape((b, heads, t, d))?)
}

fn softmax(scores: &Tensor) -> Result<Tensor> {
    let dtype = scores.dtype();
    let wide = match dtype {
        DType::F16 | DType::BF16 => scores.to_dtype(DType::F32)?,
        _ => scores.clone(),
    };
    let highest = wide.max_keepdim(D::Minus1)?.detach();
    let shares = wide.broadcast_sub(&highest)?.exp()?;
    let total = shares.sum_keepdim(D::Minus1)?;
    Ok(shares.broadcast_div(&total)?.to_dtype(dtype)?)
}
