//! One block: norm, projections, rotation, attention, MLP.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::attention;
use super::experts::mixture;
use super::factors::Factors;
use super::gated::swiglu;
use super::linear::linear;
use super::model::PlainModel;
use super::norm::rms_norm;
use super::packing::{Newest, Packing, Rotation};
use super::rotate::rotate;
use crate::config::{Config, Target};
use crate::weights::{LayerWeights, Linear, MlpWeights};

/// Owns what it reads (shared, not copied), so that a backward pass can run it again.
pub(super) struct Block {
    config: Arc<Config>,
    weights: LayerWeights,
    window: Option<usize>,
}

impl Block {
    pub fn new(model: &PlainModel, layer: usize) -> Self {
        Self {
            config: model.config.clone(),
            weights: model.weights.layers[layer].clone(),
            window: model.config.window(layer),
        }
    }

    /// The residual stream [rows, hidden] after the block, and its keys and values
    /// [rows, kv heads, head_dim].
    pub fn forward(
        &self,
        stream: &Tensor,
        factors: &Factors,
        packing: &Packing,
    ) -> Result<(Tensor, (Tensor, Tensor))> {
        let (q, k, v) = self.project(stream, factors, &packing.rotation)?;
        let masks = packing.masks(self.window);
        let mixed = attention::packed(&q, &k, &v, &packing.runs, masks)?;
        Ok((self.finish(stream, &mixed, factors)?, (k, v)))
    }

    /// The residual stream of one new row per cached sequence after the block.
    pub fn forward_cached(
        &self,
        stream: &Tensor,
        factors: &Factors,
        newest: &Newest,
        cache: &mut (Tensor, Tensor),
    ) -> Result<Tensor> {
        let (q, k, v) = self.project(stream, factors, &newest.rotation)?;
        let mixed = attention::cached(&q, &k, &v, cache, newest.mask(self.window))?;
        self.finish(stream, &mixed, factors)
    }

    /// q [rows, heads, head_dim], k and v [rows, kv heads, head_dim], normed and
    /// rotated.
    fn project(
        &self,
        stream: &Tensor,
        factors: &Factors,
        rotation: &Rotation,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (config, weights) = (&self.config, &self.weights);
        let eps = config.rms_norm_eps;
        let x = rms_norm(stream, &weights.attn_norm, eps)?;
        let rows = x.dim(0)?;
        let heads = |projection: &Linear, target: Target, heads: usize| -> Result<Tensor> {
            let y = linear(&x, projection, factors.get(target))?;
            y.reshape((rows, heads, config.head_dim))
        };
        let mut q = heads(&weights.q, Target::Q, config.num_heads)?;
        let mut k = heads(&weights.k, Target::K, config.num_kv_heads)?;
        let v = heads(&weights.v, Target::V, config.num_kv_heads)?;
        if let Some(norm) = &weights.q_norm {
            q = rms_norm(&q, norm, eps)?;
        }
        if let Some(norm) = &weights.k_norm {
            k = rms_norm(&k, norm, eps)?;
        }
        let rotary = config.rotary_dim();
        Ok((rotate(&q, rotation, rotary)?, rotate(&k, rotation, rotary)?, v))
    }

    /// Output projection and MLP, each added to the residual stream.
    fn finish(&self, stream: &Tensor, mixed: &Tensor, factors: &Factors) -> Result<Tensor> {
        let weights = &self.weights;
        let stream = (stream + linear(mixed, &weights.o, factors.get(Target::O))?)?;
        let x = rms_norm(&stream, &weights.mlp_norm, self.config.rms_norm_eps)?;
        let mlp = match (&weights.mlp, &self.config.experts) {
            (MlpWeights::Experts(mlp), Some(config)) => return stream + mixture(&x, config, mlp)?,
            (MlpWeights::Experts(_), None) => unreachable!("weights were checked"),
            (MlpWeights::Dense(mlp), _) => mlp,
        };
        let gate = linear(&x, &mlp.gate, factors.get(Target::Gate))?;
        let up = linear(&x, &mlp.up, factors.get(Target::Up))?;
        let inner = swiglu(&gate, &up)?;
        stream + linear(&inner, &mlp.down, factors.get(Target::Down))?
    }
}
