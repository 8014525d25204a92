//! Noise of training passes: what it is drawn from.
//!
//! The passes that are trained have it, and with them what policies see of these passes. What a
//! pass without gradient gives (reference, canary, trials, evaluation) and safety anchors have none.

use host_data::Sample;
use host_model::decoder::{Noise, NoiseLevels};

/// The noise of a training. A step draws it from the seed, the step and the sample: a run that
/// goes on, or is shared by several processes, has the noise of one that does neither.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrainingNoise {
    pub levels: NoiseLevels,
    pub seed: u64,
}

impl TrainingNoise {
    /// Of one pass over some samples of a step; none if there is none.
    pub fn of(&self, step: u64, samples: &[&Sample]) -> Option<Noise> {
        let key =
            |sample: &&Sample| Noise::key(&[self.seed, step, sample.origin as u64, sample.id]);
        let keys = || samples.iter().map(key).collect();
        (!self.levels.are_zero()).then(|| Noise { levels: self.levels, keys: keys() })
    }
}
