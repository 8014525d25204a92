//! Factor of the update of each decoder block.

use super::{
    Actuator, Actuators, Check, Decisions, Regularization,
    ranges::{length, within},
};
use crate::types::Sample;

pub(super) struct LayerScale;

impl Actuator for LayerScale {
    fn name(&self) -> &'static str {
        "layer-scale"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::LAYER_SCALE)
    }

    fn meaning(&self) -> &'static str {
        "makes the updates of some decoder blocks smaller, or freezes them"
    }

    fn example(&self, _samples: &[Sample], r: &mut Regularization) {
        r.layer_scale = Some(vec![0.0, 0.5]);
    }

    fn check(&self, r: &Regularization, _samples: &[Sample]) -> Check {
        let mut scales = r.layer_scale.iter().flatten().enumerate();
        scales.try_for_each(|(i, scale)| {
            within(&format!("regularization.layer-scale[{i}]"), *scale, 0.0, 1.0)
        })
    }

    fn check_layers(&self, r: &Regularization, layers: u32) -> Check {
        let Some(scales) = &r.layer_scale else { return Ok(()) };
        let why = "one per decoder block";
        length("regularization.layer-scale", scales.len(), layers as usize, why)
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.layer_scale.as_ref().map(|_| "layer-scale")
    }

    /// The smallest factor of each block.
    fn merge(&self, decisions: Decisions<'_>, into: &mut Regularization) {
        let least = |mut all: Vec<f64>, one: Vec<f64>| {
            all.iter_mut().zip(one).for_each(|(least, scale)| *least = least.min(scale));
            all
        };
        into.layer_scale = decisions.some(|one| one.layer_scale.clone()).reduce(least);
    }
}
