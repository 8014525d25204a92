//! Causal attention with grouped keys, in blocks of query rows: scores of a long sequence are never whole in memory,
//! and the backward pass computes probabilities again (Dao et al. 2022, arXiv 2205.14135).

use std::ops::Range;

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::packing::Run;
use crate::config::Config;
use crate::operation::{ternary, wide};

/// Scores that are held at a time, in values.
const SCORES: usize = 64 << 20;

/// Rows of a block at least, so that products don't become thin.
const FEWEST: usize = 64;

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

/// Causal attention of the sequences of one run.
#[derive(Clone)]
pub(super) struct Causal {
    /// 0, 1, 2 and so on to the length of a sequence, on the device, in at least single precision.
    pub positions: Tensor,
    /// Keys a query sees, itself included.
    pub window: Option<usize>,
    pub scores: Scores,
}

/// q [rows, heads, d], k and v [rows, kv heads, d] -> [rows, heads * d], every
/// sequence on its own; neighbours of equal length go together.
pub(super) fn packed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    runs: &[Run],
    window: Option<usize>,
    scores: Scores,
) -> Result<Tensor> {
    let mut outputs = Vec::with_capacity(runs.len());
    for run in runs {
        let rows = run.count * run.length;
        let split = |x: &Tensor| -> Result<Tensor> {
            let (_, heads, size) = x.dims3()?;
            let part = x.narrow(0, run.start, rows)?;
            let part = part.reshape((run.count, run.length, heads, size))?;
            part.transpose(1, 2)?.contiguous()
        };
        let causal = Causal { positions: run.positions.clone(), window, scores };
        let mixed = causal.attend(&split(q)?, &split(k)?, &split(v)?)?;
        let mixed = mixed.transpose(1, 2)?.contiguous()?;
        outputs.push(mixed.reshape((rows, ()))?);
    }
    Tensor::cat(&outputs, 0)
}

/// Queries of a block and the keys that they see.
struct Part {
    queries: Range<usize>,
    keys: Range<usize>,
    /// [queries, keys]: 0, or minus infinity where a key isn't seen.
    mask: Tensor,
}

impl Causal {
    /// q [b, heads, t, d], k and v [b, kv heads, t, d] -> [b, heads, t, d].
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (b, heads, t, _) = q.dims4()?;
        let rows = (SCORES / (b * heads * t).max(1)).max(FEWEST);
        self.in_blocks(q, k, v, rows)
    }

    fn in_blocks(&self, q: &Tensor, k: &Tensor, v: &Tensor, rows: usize) -> Result<Tensor> {
        let (constant_q, constant_k, constant_v) = (q.detach(), k.detach(), v.detach());
        let mut outputs = Vec::new();
        for part in self.parts(q.dim(2)?, rows)? {
            let (q, k) = (part.queries(&constant_q)?, part.keys(&constant_k)?);
            let (_, probabilities) = self.probabilities(&q, &k, &part)?;
            let mixed = probabilities.matmul(&part.keys(&constant_v)?)?;
            outputs.push(mixed.reshape(q.shape())?);
        }
        let value = Tensor::cat(&outputs, 2)?;
        let this = self.clone();
        ternary([q, k, v], value, move |[q, k, v], g| this.backward([q, k, v], g, rows))
    }

    fn parts(&self, length: usize, rows: usize) -> Result<Vec<Part>> {
        (0..length)
            .step_by(rows)
            .map(|start| {
                let end = length.min(start + rows);
                let first = self.window.map_or(0, |window| (start + 1).saturating_sub(window));
                let (queries, keys) = (start..end, first..end);
                let mask = self.mask(&queries, &keys)?;
                Ok(Part { queries, keys, mask })
            })
            .collect()
    }

    /// Made on the device, so that no block waits for the host.
    fn mask(&self, queries: &Range<usize>, keys: &Range<usize>) -> Result<Tensor> {
        let of = |range: &Range<usize>| self.positions.narrow(0, range.start, range.len());
        let (query, key) = (of(queries)?.unsqueeze(1)?, of(keys)?.unsqueeze(0)?);
        let mut seen = key.broadcast_le(&query)?;
        if let Some(window) = self.window {
            seen = (seen * key.broadcast_gt(&(query - window as f64)?)?)?;
        }
        let shape = (queries.len(), keys.len());
        let constant = |value: f64| {
            let one = Tensor::new(value, self.positions.device())?;
            one.to_dtype(self.positions.dtype())?.broadcast_as(shape)
        };
        seen.where_cond(&constant(0.0)?, &constant(f64::NEG_INFINITY)?)
    }

    /// Products of grouped queries and keys, and their probabilities: [b, kv heads, group * queries, keys] each. Queries
    /// of one group are rows of one product: keys are never repeated.
    fn probabilities(&self, q: &Tensor, k: &Tensor, part: &Part) -> Result<(Tensor, Tensor)> {
        let products = grouped(q, k.dim(1)?)?.matmul(&k.t()?.contiguous()?)?;
        let by_head = (q.dim(0)?, q.dim(1)?, q.dim(2)?, k.dim(2)?);
        let probabilities = softmax(&products.reshape(by_head)?, &part.mask, self.scores)?;
        let probabilities = probabilities.reshape(products.shape())?;
        Ok((products, probabilities))
    }

    /// Gradients of q, k and v.
    fn backward(&self, [q, k, v]: [&Tensor; 3], g: &Tensor, rows: usize) -> Result<[Tensor; 3]> {
        let length = q.dim(2)?;
        let (mut of_q, mut of_k, mut of_v) = (Vec::new(), None, None);
        for part in self.parts(length, rows)? {
            let (queries, keys, values) = (part.queries(q)?, part.keys(k)?, part.keys(v)?);
            let (products, probabilities) = self.probabilities(&queries, &keys, &part)?;
            let g = grouped(&part.queries(g)?, k.dim(1)?)?;
            let value_slopes = probabilities.t()?.contiguous()?.matmul(&g)?;
            let pulled = wide(&g.matmul(&values.t()?.contiguous()?)?)?;
            let probabilities = wide(&probabilities)?;
            let pulled = (pulled * &probabilities)?;
            let total = pulled.sum_keepdim(D::Minus1)?;
            let slopes = (pulled - probabilities.broadcast_mul(&total)?)?;
            let slopes = self.scores.back(slopes, &wide(&products)?)?.to_dtype(q.dtype())?;
            of_q.push(slopes.matmul(&keys)?.reshape(queries.shape())?);
            let key_slopes = slopes.t()?.contiguous()?.matmul(&grouped(&queries, k.dim(1)?)?)?;
            for (sum, found) in [(&mut of_k, key_slopes), (&mut of_v, value_slopes)] {
                let Range { start, end } = part.keys;
                let found = wide(&found)?.pad_with_zeros(2, start, length - end)?;
                *sum = Some(match sum.take() {
                    None => found,
                    Some(sum) => (sum + found)?,
                });
            }
        }
        let (Some(of_k), Some(of_v)) = (of_k, of_v) else {
            candle_core::bail!("attention over nothing");
        };
        Ok([Tensor::cat(&of_q, 2)?, of_k.to_dtype(k.dtype())?, of_v.to_dtype(v.dtype())?])
    }
}

impl Part {
    fn queries(&self, x: &Tensor) -> Result<Tensor> {
        x.narrow(2, self.queries.start, self.queries.len())?.contiguous()
    }

    fn keys(&self, x: &Tensor) -> Result<Tensor> {
        x.narrow(2, self.keys.start, self.keys.len())?.contiguous()
    }
}

/// [b, heads, t, d] -> [b, kv heads, group * t, d]
fn grouped(x: &Tensor, kv_heads: usize) -> Result<Tensor> {
    let (b, heads, t, d) = x.dims4()?;
    x.contiguous()?.reshape((b, kv_heads, heads / kv_heads * t, d))
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
    let (sequences, heads, _) = q.dims3()?;
    let (k, v) = (&cache.0, &cache.1);
    let (kv_heads, longest) = (k.dim(1)?, k.dim(2)?);
    let products = grouped(&q.unsqueeze(2)?, kv_heads)?.matmul(&k.t()?.contiguous()?)?;
    let by_head = products.reshape((sequences, heads, 1, longest))?;
    let probabilities = softmax(&by_head, mask, scores)?.reshape(products.shape())?;
    probabilities.matmul(&v.contiguous()?)?.reshape((sequences, ()))
}

/// softmax(scores + mask) over the last dimension, computed in at least single precision.
fn softmax(products: &Tensor, mask: &Tensor, scores: Scores) -> Result<Tensor> {
    let scored = scores.of(&wide(products)?)?;
    let mask = mask.to_dtype(scored.dtype())?;
    softmax_last_dim(&scored.broadcast_add(&mask)?)?.to_dtype(products.dtype())
}

/// 0, 1, 2 and so on.
pub(super) fn positions(length: usize, device: &candle_core::Device) -> Result<Tensor> {
    Tensor::arange(0u32, length as u32, device)?.to_dtype(DType::F32)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn wave(dims: (usize, usize, usize, usize), step: f64) -> Var {
        let (b, heads, t, d) = dims;
        let values: Vec<f64> = (0..b * heads * t * d).map(|i| (i as f64 * step).sin()).collect();
        Var::from_tensor(&Tensor::from_vec(values, dims, &Device::Cpu).unwrap()).unwrap()
    }

    /// Value and gradients, as one list.
    fn flow(causal: &Causal, inputs: [&Var; 3], rows: usize) -> Vec<f64> {
        let [q, k, v] = inputs.map(Var::as_tensor);
        let out = causal.in_blocks(q, k, v, rows).unwrap();
        let slope = wave(out.dims4().unwrap(), 0.37);
        let gradients = (&out * slope.as_detached_tensor()).unwrap().sum_all().unwrap();
        let gradients = gradients.backward().unwrap();
        let found = inputs.map(|input| gradients.get(input).unwrap().clone());
        let all = std::iter::once(out.detach()).chain(found);
        all.flat_map(|x| x.flatten_all().unwrap().to_vec1::<f64>().unwrap()).collect()
    }

    #[test]
    fn blocks_give_what_one_block_gives() {
        let (b, heads, kv_heads, t, d) = (2, 4, 2, 23, 3);
        let q = wave((b, heads, t, d), 0.7);
        let (k, v) = (wave((b, kv_heads, t, d), 0.31), wave((b, kv_heads, t, d), 0.9));
        for (window, cap) in [(None, None), (Some(6), None), (Some(40), Some(1.5)), (Some(1), None)]
        {
            let scores = Scores { scale: 0.6, cap };
            let positions = positions(t, &Device::Cpu).unwrap();
            let causal = Causal { positions, window, scores };
            let whole = flow(&causal, [&q, &k, &v], t);
            assert!(whole.iter().any(|x| x.abs() > 1e-3));
            for rows in [1, 5, 8, 22] {
                let parts = flow(&causal, [&q, &k, &v], rows);
                let gap = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(gap < 1e-12, "{window:?} {cap:?} {rows}: {gap}");
            }
        }
    }
}
