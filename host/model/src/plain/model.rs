//! The model that all modules of this implementation read.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::config::Config;
use crate::weights::{LayerWeights, Weights};

/// The shape of a model and its frozen weights, on any device.
pub(crate) struct PlainModel {
    pub config: Arc<Config>,
    pub weights: Weights,
    /// The blocks' weights, with norms as the factors that rows are multiplied with.
    pub layers: Vec<LayerWeights>,
    /// Likewise.
    pub final_norm: Tensor,
}

impl PlainModel {
    pub fn new(config: Arc<Config>, weights: Weights) -> Result<Self> {
        let norm = |norm: &Tensor| config.norm_factor(norm);
        let layers = weights.layers.iter().map(|layer| layer.with_norms(norm));
        let layers = layers.collect::<Result<_>>()?;
        let final_norm = norm(&weights.final_norm)?;
        Ok(Self { config, weights, layers, final_norm })
    }
}
