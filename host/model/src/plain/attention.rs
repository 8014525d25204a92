//! Causal attention with grouped keys, in blocks of query rows: scores of a long sequence are never whole in memory,
//! and the backward pass computes probabilities again (Dao et al. 2022, arXiv 2205.14135).

use std::ops::Range;

use candle_core::{D, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::band::Band;
use super::packing::Run;
use crate::config::Config;
use crate::operation::{ternary, wide};

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
                let part = (wide(products)? * (self.scale / cap))?.tanh()?;
                slopes * (part.sqr()?.affine(-self.scale, self.scale)?)
            }
        }
    }
}

/// q [rows, heads, d], k and v [rows, kv heads, d] -> [rows, heads * d], every
/// sequence on its own; neighbours of equal length go together. One band per run.
pub(super) fn packed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    runs: &[Run],
    bands: &[Band],
    scores: Scores,
) -> Result<Tensor> {
    let mut outputs = Vec::with_capacity(runs.len());
    for (run, band) in runs.iter().zip(bands) {
        let rows = run.count * run.length;
        let split = |x: &Tensor| -> Result<Tensor> {
            let (_, heads, size) = x.dims3()?;
            let part = x.narrow(0, run.start, rows)?;
            let part = part.reshape((run.count, run.length, heads, size))?;
            part.transpose(1, 2)?.contiguous()
        };
        let causal = Causal { band: band.clone(), scores };
        let mixed = causal.attend(&split(q)?, &split(k)?, &split(v)?)?;
        let mixed = mixed.transpose(1, 2)?.contiguous()?;
        outputs.push(mixed.reshape((rows, ()))?);
    }
    Tensor::cat(&outputs, 0)
}

/// Causal attention of sequences of one length.
#[derive(Clone)]
struct Causal {
    band: Band,
    scores: Scores,
}

impl Causal {
    /// q [b, heads, t, d], k and v [b, kv heads, t, d] -> [b, heads, t, d].
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (constant_q, constant_k, constant_v) = (q.detach(), k.detach(), v.detach());
        let mut outputs = Vec::new();
        for part in self.band.parts(q.dim(2)?) {
            let part = part?;
            let (q, k) = (part.queries(&constant_q)?, part.keys(&constant_k)?);
            let (_, probabilities) = probabilities(&q, &k, &part.mask, self.scores)?;
            let mixed = probabilities.matmul(&part.keys(&constant_v)?)?;
            outputs.push(mixed.reshape(q.shape())?);
        }
        let value = Tensor::cat(&outputs, 2)?;
        let this = self.clone();
        ternary([q, k, v], value, move |inputs, g| this.backward(inputs, g))
    }

    /// Gradients of q, k and v.
    fn backward(&self, [q, k, v]: [&Tensor; 3], g: &Tensor) -> Result<[Tensor; 3]> {
        let kv_heads = k.dim(1)?;
        let (mut of_q, mut of_k, mut of_v) = (Vec::new(), Sums::default(), Sums::default());
        for part in self.band.parts(q.dim(2)?) {
            let part = part?;
            let (queries, keys, values) = (part.queries(q)?, part.keys(k)?, part.keys(v)?);
            let (products, probabilities) =
                probabilities(&queries, &keys, &part.mask, self.scores)?;
            let g = grouped(&part.queries(g)?, kv_heads)?;
            of_v.add(&part.keys, wide(&probabilities.t()?.matmul(&g)?)?)?;
            let pulled = wide(&g.matmul(&values.t()?)?)?;
            let probabilities = wide(&probabilities)?;
            let pulled = (pulled * &probabilities)?;
            let total = pulled.sum_keepdim(D::Minus1)?;
            let slopes = (pulled - probabilities.broadcast_mul(&total)?)?;
            let slopes = self.scores.back(slopes, &products)?.to_dtype(q.dtype())?;
            of_q.push(slopes.matmul(&keys)?.reshape(queries.shape())?);
            let found = slopes.t()?.matmul(&grouped(&queries, kv_heads)?)?;
            of_k.add(&part.keys, wide(&found)?)?;
        }
        let of_q = Tensor::cat(&of_q, 2)?;
        Ok([of_q, of_k.all()?.to_dtype(k.dtype())?, of_v.all()?.to_dtype(v.dtype())?])
    }
}

/// Sums over parts whose keys move on: [b, kv heads, keys, d].
#[derive(Default)]
struct Sums {
    /// Of keys that no later part sees.
    done: Vec<Tensor>,
    /// Of the last part's keys, from the first of them on.
    open: Option<(usize, Tensor)>,
}

impl Sums {
    fn add(&mut self, keys: &Range<usize>, found: Tensor) -> Result<()> {
        let sum = match self.open.take() {
            None => found,
            Some((first, sum)) => {
                let (passed, count) = (keys.start - first, sum.dim(2)?);
                if passed > 0 {
                    self.done.push(sum.narrow(2, 0, passed)?);
                }
                if passed == count {
                    found
                } else {
                    let still = sum.narrow(2, passed, count - passed)?;
                    (still.pad_with_zeros(2, 0, keys.len() + passed - count)? + found)?
                }
            }
        };
        self.open = Some((keys.start, sum));
        Ok(())
    }

    fn all(self) -> Result<Tensor> {
        let open = self.open.into_iter().map(|(_, sum)| sum);
        Tensor::cat(&self.done.into_iter().chain(open).collect::<Vec<_>>(), 2)
    }
}

/// [b, heads, t, d] -> [b, kv heads, group * t, d]
fn grouped(x: &Tensor, kv_heads: usize) -> Result<Tensor> {
    let (b, heads, t, d) = x.dims4()?;
    x.reshape((b, kv_heads, heads / kv_heads * t, d))
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
    let (k, v) = (cache.0.contiguous()?, cache.1.contiguous()?);
    let (_, probabilities) = probabilities(&q.unsqueeze(2)?, &k, mask, scores)?;
    probabilities.matmul(&v)?.reshape((q.dim(0)?, ()))
}

/// Products of grouped queries [b, heads, t, d] and keys [b, kv heads, s, d], and their probabilities: [b, kv heads,
/// group * t, s] each. Queries of one group are rows of one product: keys are never repeated.
fn probabilities(
    q: &Tensor,
    k: &Tensor,
    mask: &Tensor,
    scores: Scores,
) -> Result<(Tensor, Tensor)> {
    let products = grouped(q, k.dim(1)?)?.matmul(&k.t()?)?;
    let by_head = (q.dim(0)?, q.dim(1)?, q.dim(2)?, k.dim(2)?);
    let probabilities = softmax(&products.reshape(by_head)?, mask, scores)?;
    let probabilities = probabilities.reshape(products.shape())?;
    Ok((products, probabilities))
}

/// softmax(scores + mask) over the last dimension, computed in at least single precision.
fn softmax(products: &Tensor, mask: &Tensor, scores: Scores) -> Result<Tensor> {
    let scored = scores.of(&wide(products)?)?;
    let mask = mask.to_dtype(scored.dtype())?;
    softmax_last_dim(&scored.broadcast_add(&mask)?)?.to_dtype(products.dtype())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn wave(dims: (usize, usize, usize, usize), step: f64) -> Var {
        let (b, heads, t, d) = dims;
        let values: Vec<f64> = (0..b * heads * t * d).map(|i| (i as f64 * step).sin()).collect();
        Var::from_tensor(&Tensor::from_vec(values, dims, &Device::Cpu).unwrap()).unwrap()
    }

    /// Value and gradients, as one list.
    fn flow(causal: &Causal, inputs: [&Var; 3]) -> Vec<f64> {
        let [q, k, v] = inputs.map(Var::as_tensor);
        let out = causal.attend(q, k, v).unwrap();
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
        for (window, cap) in [(t, None), (6, None), (22, Some(1.5)), (1, None)] {
            let blocks_of = |rows: usize| {
                let band = Band::of_blocks(rows, window, &Device::Cpu).unwrap();
                let scores = Scores { scale: 0.6, cap };
                flow(&Causal { band, scores }, [&q, &k, &v])
            };
            let whole = blocks_of(t);
            assert!(whole.iter().any(|x| x.abs() > 1e-3));
            for rows in [1, 5, 8, 22] {
                let parts = blocks_of(rows);
                let gap = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(gap < 1e-12, "{window:?} {cap:?} {rows}: {gap}");
            }
        }
    }
}
