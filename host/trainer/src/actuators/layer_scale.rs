//! A factor on the update of each decoder block; 0 freezes a block (as SPPFT does with safety
//! layers, arXiv 2408.17003).

use host_contract::{Actuators as Declared, Needs, Regularization};

use super::any_may;
use super::stage::{Point, StepActuator};

pub(super) struct LayerScale {
    /// The parameters before the update; kept if a policy may scale it.
    before: Option<Vec<f32>>,
}

pub(super) fn new(needs: &[Needs], parameters: &[f32]) -> Box<dyn StepActuator> {
    let declared = any_may(needs, Declared::LAYER_SCALE);
    Box::new(LayerScale { before: declared.then(|| parameters.to_vec()) })
}

impl StepActuator for LayerScale {
    fn vectors(&self) -> usize {
        usize::from(self.before.is_some())
    }

    fn before_update(&mut self, at: &Point<'_>) {
        if let Some(before) = &mut self.before {
            before.copy_from_slice(at.parameters);
        }
    }

    /// AdamW divides a gradient by its own size, so the update is scaled and not the gradient.
    fn after_update(&mut self, asked: &Regularization, at: &mut Point<'_>) {
        let (Some(scales), Some(before)) = (&asked.layer_scale, &self.before) else {
            return;
        };
        for (layer, range) in at.layout.layers() {
            let scale = scales.get(layer).copied().unwrap_or(1.0);
            if scale == 1.0 {
                continue;
            }
            let values = at.parameters[range.clone()].iter_mut().zip(&before[range]);
            for (value, before) in values {
                let update = f64::from(*value) - f64::from(*before);
                *value = (f64::from(*before) + scale * update) as f32;
            }
        }
    }
}
