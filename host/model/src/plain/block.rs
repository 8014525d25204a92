//! One block: norm, projections, rotation; attention is beside it.

use candle_core::{D, DType, Tensor};

use super::attention;
use crate::config::Config;
use crate::decoder::{Decoder, Packed};
use crate::error::Result;
use crate::lora::{Lora, Target};
use crate::weights::{LayerWeights, Linear};

pub(super) struct Block<'a> {
    config: &'a Config,
    weights: &'a LayerWeights,
    adapter: Option<&'a Lora>,
    layer: usize,
}

impl<'a> Block<'a> {
    pub fn new(decoder: &'a Decoder, adapter: Option<&'a Lora>, layer: usize) -> Self {
        Self {
            config: &decoder.config,
            weights: &decoder.weights.layers[layer],
            adapter,
            layer,
        }
    }

    /// y = x W^T + b + scaling (x A^T) B^T
    fn linear(&self, x: &Tensor, linear: &Linear, target: Target) -> Result<Tensor> {
        let mut y = x.matmul(&linear.weight.t()?)?;
        if let Some(bias) = &linear.bias {
            y = y.broadcast_add(bias)?;
        }
        let Some(adapter) = self.adapter else {
            return Ok(y);
        };
        let Some((a, b)) = adapter.pair(self.layer, target) else {
            return Ok(y);
        };
        let a = a.to_dtype(x.dtype())?;
        let b = b.to_dtype(x.dtype())?;
        let low = x.matmul(&a.t()?)?.matmul(&b.t()?)?;
        Ok((y + (low * adapter.scaling())?)?)
    }

    /// q [rows, heads, head_dim], k and v [rows, kv heads, head_dim] of the
    /// residual stream [rows, hidden], normed and rotated.
    pub fn project(
        &self,
        stream: &Tensor,
        cos: &Tensor,
        sin: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let config = self.config;
        let x = rms_norm(stream, &self.weights.attn_norm, config.rms_norm_eps)?;
        let rows = x.dims()[0];
        let heads = |y: Tensor, heads: usize| y.reshape((rows, heads, config.head_dim));
        let mut q = heads(
            self.linear(&x, &self.weights.q, Target::Q)?,
            config.num_heads,
        )?;
        let mut k = heads(
            self.linear(&x, &self.weights.k, Target::K)?,
            config.num_kv_heads,
        )?;
        let v = heads(
            self.linear(&x, &self.weights.v, Target::V)?,
            config.num_kv_heads,
        )?;
        if let Some(norm) = &self.weights.q_norm {
            q = rms_norm(&q, norm, config.rms_norm_eps)?;
        }
        if let Some(norm) = &self.weights.k_norm {
            k = rms_norm(&k, norm, config.rms_norm_eps)?;
        }
        let rotary = config.rotary_dim();
        Ok((
            rotate(&q, cos, sin, rotary)?,
            rotate(&k, cos, sin, rotary)?,
            v,
        ))
    }

    /// Attention inside every sequence: [rows, heads * head_dim].
    pub fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, batch: &Packed) -> Result<Tensor> {
        attention::packed(q, k, v, batch, self.config.window(self.layer))
    }

    /// Attention of one new row per sequence over its cache, which it joins.
    pub fn attend_cached(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        cache: &mut (Tensor, Tensor),
        lengths: &[usize],
    ) -> Result<Tensor> {
        attention::cached(q, k, v, cache, lengths, self.config.window(self.layer))
    }

    /// Output projection and MLP, each added to the residual stream.
    pub fn finish(&self, stream: &Tensor, mixed: &Tensor) -> Result<Tensor> {
        let stream = (stream + self.linear(mixed, &self.weights.o, Target::O)?)?;
        let x = rms_norm(&stream, &self.weights.mlp_norm, self.config.rms_norm_eps)?;
        let gate = self.linear(&x, &self.weights.gate, Target::Gate)?;
        let up = self.linear(&x, &self.weights.up, Target::Up)?;
        let inner = (gate.silu()? * up)?;
        Ok((&stream + self.linear(&inner, &self.weights.down, Target::Down)?)?)
    }
}

/// x / rms(x) * weight over the last dimension, in at least single precision
/// (Zhang and Sennrich 2019, arXiv 1910.07467).
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let wide = match dtype {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32)?,
        _ => x.clone(),
    };
    let mean = wide.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = wide.broadcast_div(&(mean + eps)?.sqrt()?)?;
    Ok(normed.to_dtype(dtype)?.broadcast_mul(weight)?)
}

/// Rotates the first `rotary` dimensions of every head [rows, heads, head_dim].
fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, rotary: usize) -> Result<Tensor> {
    let (half, size) = (rotary / 2, x.dims()[2]);
    let first = x.narrow(2, 0, half)?;
    let second = x.narrow(2, half, half)?;
    let turned_first = (first.broadcast_mul(cos)? - second.broadcast_mul(sin)?)?;
    let turned_second = (second.broadcast_mul(cos)? + first.broadcast_mul(sin)?)?;
    if rotary == size {
        return Ok(Tensor::cat(&[turned_first, turned_second], 2)?);
    }
    let rest = x.narrow(2, rotary, size - rotary)?;
    Ok(Tensor::cat(&[turned_first, turned_second, rest], 2)?)
}
