//! Causal attention with grouped keys.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::packing::Run;
use crate::operation::{unary, wide};

/// q [rows, heads, d], k and v [rows, kv heads, d] -> [rows, heads * d], every
/// sequence on its own; neighbours of equal length go together. One mask per run.
pub(super) fn packed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    runs: &[Run],
    masks: &[Tensor],
) -> Result<Tensor> {
    let mut outputs = Vec::with_capacity(runs.len());
    for (run, mask) in runs.iter().zip(masks) {
        let rows = run.count * run.length;
        let split = |x: &Tensor| -> Result<Tensor> {
            let (_, heads, size) = x.dims3()?;
            let part = x.narrow(0, run.start, rows)?;
            let part = part.reshape((run.count, run.length, heads, size))?;
            part.transpose(1, 2)?.contiguous()
        };
        let mixed = attend(&split(q)?, &split(k)?, &split(v)?, mask)?;
        let mixed = mixed.transpose(1, 2)?.contiguous()?;
        outputs.push(mixed.reshape((rows, ()))?);
    }
    Tensor::cat(&outputs, 0)
}

/// One new row per sequence: q [sequences, heads, d], k and v [sequences,
/// kv heads, d], which join the cache [sequences, kv heads, longest, d].
pub(super) fn cached(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cache: &mut (Tensor, Tensor),
    mask: &Tensor,
) -> Result<Tensor> {
    let join = |old: &Tensor, new: &Tensor| Tensor::cat(&[old, &new.unsqueeze(2)?], 2);
    *cache = (join(&cache.0, k)?, join(&cache.1, v)?);
    let mixed = attend(&q.unsqueeze(2)?, &cache.0, &cache.1, mask)?;
    mixed.reshape((q.dim(0)?, ()))
}

/// q [b, heads, t, d], k and v [b, kv heads, s, d], mask broadcast to
/// [b, heads, t, s] -> [b, heads, t, d].
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (b, heads, t, d) = q.dims4()?;
    let (_, kv_heads, s, _) = k.dims4()?;
    let group = heads / kv_heads;
    // Queries of one group become rows of one product: keys are never repeated.
    let grouped = q.reshape((b, kv_heads, group * t, d))?.contiguous()?;
    let scores = grouped.matmul(&k.transpose(2, 3)?.contiguous()?)?;
    let probabilities = softmax(&scores.reshape((b, heads, t, s))?, mask, (d as f64).powf(-0.5))?;
    let probabilities = probabilities.reshape((b, kv_heads, group * t, s))?;
    probabilities.matmul(&v.contiguous()?)?.reshape((b, heads, t, d))
}

/// softmax(scale * scores + mask) over the last dimension, in at least single
/// precision.
fn softmax(scores: &Tensor, mask: &Tensor, scale: f64) -> Result<Tensor> {
    let dtype = scores.dtype();
    let scaled = (wide(&scores.detach())? * scale)?;
    let mask = mask.to_dtype(scaled.dtype())?;
    let probabilities = softmax_last_dim(&scaled.broadcast_add(&mask)?)?.to_dtype(dtype)?;
    unary(scores, probabilities, move |_, probabilities, g| {
        let probabilities = wide(probabilities)?;
        let pulled = (wide(g)? * &probabilities)?;
        let total = pulled.sum_keepdim(D::Minus1)?;
        let slopes = (pulled - probabilities.broadcast_mul(&total)?)?;
        (slopes * scale)?.to_dtype(dtype)
    })
}
