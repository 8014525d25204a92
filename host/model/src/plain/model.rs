//! The model that all modules of this implementation read.

use std::sync::Arc;

use crate::config::Config;
use crate::weights::Weights;

/// The shape of a model and its frozen weights, on any device.
pub(crate) struct PlainModel {
    pub config: Arc<Config>,
    pub weights: Weights,
}

impl PlainModel {
    pub fn new(config: Arc<Config>, weights: Weights) -> Self {
        Self { config, weights }
    }
}
