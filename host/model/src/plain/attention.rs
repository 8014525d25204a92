//! Causal attention with grouped keys.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::packing::Run;
use crate::config::Config;
use crate::operation::{unary, wide};

/// How products of queries and keys become scores.
#[derive(Clone, Copy)]
pub(super) struct Scores {
    pub scale: f64,
    pub cap: Option<f64>,
}

impl Scores {
    pub fn new(config: &Config) -> Self {
        let scale = config.scales.attention.unwrap_or((config.head_dim as f64).powf(-0.5));
        Self { scale, cap: config.attention_cap }
    }

    /// scale * products, capped.
    fn of(self, products: &Tensor) -> Result<Tensor> {
        match self.cap {
            None => products * self.scale,
            Some(cap) => (products * (self.scale / cap))?.tanh()? * cap,
        }
    }

    /// Turns slopes by scores into slopes by products.
    fn back(self, slopes: Tensor, products: &Tensor) -> Result<Tensor> {
        match self.cap {
            None => slopes * self.scale,
            Some(cap) => {
                let part = (products * (self.scale / cap))?.tanh()?;
                slopes * (part.sqr()?.affine(-self.scale, self.scale)?)
            }
        }
    }
}

/// q [rows, heads, d], k and v [rows, kv heads, d] -> [rows, heads * d], every
/// sequence on its own; neighbours of equal length go together. One mask per run.
pub(super) fn packed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    runs: &[Run],
    masks: &[Tensor],
    scores: Scores,
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
        let mixed = attend(&split(q)?, &split(k)?, &split(v)?, mask, scores)?;
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
    scores: Scores,
) -> Result<Tensor> {
    let join = |old: &Tensor, new: &Tensor| Tensor::cat(&[old, &new.unsqueeze(2)?], 2);
    *cache = (join(&cache.0, k)?, join(&cache.1, v)?);
    let mixed = attend(&q.unsqueeze(2)?, &cache.0, &cache.1, mask, scores)?;
    mixed.reshape((q.dim(0)?, ()))
}

/// q [b, heads, t, d], k and v [b, kv heads, s, d], mask broadcast to
/// [b, heads, t, s] -> [b, heads, t, d].
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: &Tensor, scores: Scores) -> Result<Tensor> {
    let (b, heads, t, d) = q.dims4()?;
    let (_, kv_heads, s, _) = k.dims4()?;
    let group = heads / kv_heads;
    // Queries of one group become rows of one product: keys are never repeated.
    let grouped = q.reshape((b, kv_heads, group * t, d))?.contiguous()?;
    let products = grouped.matmul(&k.transpose(2, 3)?.contiguous()?)?;
    let probabilities = softmax(&products.reshape((b, heads, t, s))?, mask, scores)?;
    let probabilities = probabilities.reshape((b, kv_heads, group * t, s))?;
    probabilities.matmul(&v.contiguous()?)?.reshape((b, heads, t, d))
}

/// softmax(scores + mask) over the last dimension, in at least single precision.
fn softmax(products: &Tensor, mask: &Tensor, scores: Scores) -> Result<Tensor> {
    let dtype = products.dtype();
    let scored = scores.of(&wide(&products.detach())?)?;
    let mask = mask.to_dtype(scored.dtype())?;
    let probabilities = softmax_last_dim(&scored.broadcast_add(&mask)?)?.to_dtype(dtype)?;
    unary(products, probabilities, move |products, probabilities, g| {
        let probabilities = wide(probabilities)?;
        let pulled = (wide(g)? * &probabilities)?;
        let total = pulled.sum_keepdim(D::Minus1)?;
        let slopes = (pulled - probabilities.broadcast_mul(&total)?)?;
        scores.back(slopes, &wide(products)?)?.to_dtype(dtype)
    })
}
