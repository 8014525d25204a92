//! One block: norm, projections, rotation, attention, MLP.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};

use super::attention::{self, Scores};
use super::experts::mixture;
use super::factors::Factors;
use super::gated::gated;
use super::linear::{linear, rounded};
use super::model::PlainModel;
use super::norm::rms_norm;
use super::packing::{Newest, Packing, Rotation};
use super::rotate::rotate;
use crate::config::{Config, QkNorm, Target};
use crate::pass::{Input, Rotations};
use crate::weights::{GatedWeights, LayerWeights, Linear, MlpWeights};

/// Owns what it reads (shared, not copied), so that a backward pass can run it again.
pub(super) struct Block {
    config: Arc<Config>,
    weights: LayerWeights,
    layer: usize,
    window: Option<usize>,
    /// Of what goes into products.
    dtype: DType,
}

impl Block {
    pub fn new(model: &PlainModel, layer: usize) -> Self {
        Self {
            config: model.config.clone(),
            weights: model.layers[layer].clone(),
            layer,
            window: model.config.window(layer),
            dtype: model.weights.dtype(),
        }
    }

    /// The residual stream [rows, hidden] after the block, in at least single precision, and its
    /// keys and values [rows, kv heads, head_dim].
    pub fn forward(
        &self,
        stream: &Tensor,
        factors: &Factors,
        packing: &Packing,
    ) -> Result<(Tensor, (Tensor, Tensor))> {
        let (q, k, v) = self.project(stream, factors, &packing.rotations, Some(packing))?;
        let scores = Scores::new(&self.config);
        let bands = packing.bands(self.window);
        let mixed = attention::packed(&q, &k, &v, &packing.runs, bands, scores)?;
        Ok((self.finish(stream, &mixed, factors, Some(packing))?, (k, v)))
    }

    /// The residual stream of one new row per cached sequence after the block.
    pub fn forward_cached(
        &self,
        stream: &Tensor,
        factors: &Factors,
        newest: &Newest,
        cache: &mut (Tensor, Tensor),
    ) -> Result<Tensor> {
        let (q, k, v) = self.project(stream, factors, &newest.rotations, None)?;
        let scores = Scores::new(&self.config);
        let mixed = attention::cached(&q, &k, &v, cache, newest.mask(self.window), scores)?;
        self.finish(stream, &mixed, factors, None)
    }

    /// q [rows, heads, head_dim], k and v [rows, kv heads, head_dim], normed and
    /// rotated.
    fn project(
        &self,
        stream: &Tensor,
        factors: &Factors,
        rotations: &Rotations<Rotation>,
        packing: Option<&Packing>,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (config, weights) = (&self.config, &self.weights);
        let x = self.norm(stream, &weights.attn_norm, self.dtype)?;
        let rows = x.dim(0)?;
        let mask = self.dropout(packing, Input::Attention, &x)?;
        let project = |projection: &Linear, target: Target| {
            linear(&x, projection, factors.get(target), mask.as_ref())
        };
        let heads = |y: Tensor, norm: &Option<Tensor>, heads: usize| -> Result<Tensor> {
            let shape = (rows, heads, config.head_dim);
            match config.qk_norm {
                // Over the last dimension: of a whole row, or of a head.
                QkNorm::Whole => self.norm(&y, norm, y.dtype())?.reshape(shape),
                QkNorm::Head | QkNorm::None => self.norm(&y.reshape(shape)?, norm, y.dtype()),
            }
        };
        let q = heads(project(&weights.q, Target::Q)?, &weights.q_norm, config.num_heads)?;
        let k = heads(project(&weights.k, Target::K)?, &weights.k_norm, config.num_kv_heads)?;
        let v = rounded(&x, &weights.v, factors.get(Target::V), mask.as_ref())?;
        let v = v.reshape((rows, config.num_kv_heads, config.head_dim))?;
        let rotations = rotations.of(config, self.layer);
        let turned = |y: Tensor| match rotations {
            Some(angles) => rotate(&y, angles, config.rotary_dim(), self.dtype),
            None => y.to_dtype(self.dtype),
        };
        Ok((turned(q)?, turned(k)?, v))
    }

    /// Output projection and MLP, each added to the residual stream.
    fn finish(
        &self,
        stream: &Tensor,
        mixed: &Tensor,
        factors: &Factors,
        packing: Option<&Packing>,
    ) -> Result<Tensor> {
        let weights = &self.weights;
        let mask = self.dropout(packing, Input::Mixed, mixed)?;
        let out = linear(mixed, &weights.o, factors.get(Target::O), mask.as_ref())?;
        let stream = self.join(stream, &out, &weights.attn_out_norm)?;
        let x = self.norm(&stream, &weights.mlp_norm, self.dtype)?;
        let activation = self.config.activation;
        let out = match (&weights.mlp, &self.config.experts) {
            (MlpWeights::Experts(mlp), Some(config)) => mixture(&x, activation, config, mlp)?,
            (MlpWeights::Experts(_), None) => unreachable!("weights were checked"),
            (MlpWeights::Dense(mlp), _) => {
                let GatedWeights { gate, up, down } = mlp;
                let mask = self.dropout(packing, Input::Mlp, &x)?;
                let gate = linear(&x, gate, factors.get(Target::Gate), mask.as_ref())?;
                let up = linear(&x, up, factors.get(Target::Up), mask.as_ref())?;
                let inner = gated(activation, &gate, &up, self.dtype)?;
                let mask = self.dropout(packing, Input::Inner, &inner)?;
                linear(&inner, down, factors.get(Target::Down), mask.as_ref())?
            }
        };
        self.join(&stream, &out, &weights.mlp_out_norm)
    }

    /// The mask of a training pass on what adapters take.
    fn dropout(
        &self,
        packing: Option<&Packing>,
        input: Input,
        x: &Tensor,
    ) -> Result<Option<Tensor>> {
        packing.map_or(Ok(None), |packing| packing.dropout(self.layer, input, x))
    }

    /// x where there is no norm; in this type.
    fn norm(&self, x: &Tensor, weight: &Option<Tensor>, dtype: DType) -> Result<Tensor> {
        match weight {
            Some(weight) => rms_norm(x, weight, self.config.rms_norm_eps, dtype),
            None => x.to_dtype(dtype),
        }
    }

    /// stream + scale * norm(branch)
    fn join(&self, stream: &Tensor, branch: &Tensor, norm: &Option<Tensor>) -> Result<Tensor> {
        let branch = self.norm(branch, norm, stream.dtype())?;
        match self.config.scales.residual {
            1.0 => stream + branch,
            scale => stream + (branch * scale)?,
        }
    }
}
