//! Clipped probability ratio in place of the task loss.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift};

use super::{
    Actuator, Actuators, Check, Declared, Regularization,
    label_divergence::by_tokens,
    ranges::{length, within},
};
use crate::run::{RunCapabilities, Unmet};
use crate::types::Sample;

/// Replaces the task loss of a sample by -f, with x = P_current / P_reference:
/// f = min(x, high) * direction if direction >= 0, else max(x, low) * direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct RatioClip {
    /// Smallest ratio that is not clipped.
    pub low: f64,
    /// Largest ratio that is not clipped.
    pub high: f64,
    /// Positive to learn the answer, negative to unlearn it.
    pub direction: f64,
    /// Over the whole answer instead of one per token.
    pub sequence: bool,
    /// Weight of the variance of the ratios, 0 for none.
    #[component(name = "variance-penalty")]
    pub variance_penalty: f64,
    /// Factor of the gradient beyond the clip, from -1 to 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub beyond: f64,
}

fn is_zero(factor: &f64) -> bool {
    *factor == 0.0
}

pub(super) struct RatioClipActuator;

impl Actuator for RatioClipActuator {
    fn name(&self) -> &'static str {
        "ratio-clip"
    }

    fn flag(&self) -> Option<Actuators> {
        Some(Actuators::RATIO_CLIP)
    }

    fn meaning(&self) -> &'static str {
        "replaces the task loss of a sample by a clipped ratio, whose sign it chooses"
    }

    fn example(&self, samples: &[Sample], r: &mut Regularization) {
        let (low, high, direction) = (0.5, 2.0, 1.0);
        let (sequence, variance_penalty, beyond) = (false, 0.0, -0.1);
        let clip = RatioClip { low, high, direction, sequence, variance_penalty, beyond };
        r.ratio_clip = Some(vec![clip; samples.len()]);
    }

    fn unmet(&self, declared: Declared, _run: &RunCapabilities<'_>) -> Option<Unmet> {
        by_tokens(declared, self.name())
    }

    fn check(&self, r: &Regularization, samples: &[Sample]) -> Check {
        let Some(clips) = &r.ratio_clip else { return Ok(()) };
        length("regularization.ratio-clip", clips.len(), samples.len(), "one per sample")?;
        clips.iter().enumerate().try_for_each(|(i, clip)| {
            let field = |name: &str| format!("regularization.ratio-clip[{i}].{name}");
            within(&field("low"), clip.low, 0.0, f64::MAX)?;
            within(&field("high"), clip.high, clip.low, f64::MAX)?;
            within(&field("direction"), clip.direction, -f64::MAX, f64::MAX)?;
            within(&field("variance-penalty"), clip.variance_penalty, 0.0, f64::MAX)?;
            within(&field("beyond"), clip.beyond, -1.0, 0.0)
        })
    }

    fn used(&self, r: &Regularization) -> Option<&'static str> {
        r.ratio_clip.as_ref().map(|_| "ratio-clip")
    }

    fn alone(&self) -> Option<&'static str> {
        Some("replaces the task loss, which the weights of others are meant for")
    }
}
