//! What a policy may move besides the loss weights and the learning rate: the
//! moving average of the parameters, and the way back.

use host_policy::wit::{self, Ema};

use crate::optimizer::AdamW;

/// State of the actuators over a run. Empty until a policy uses one.
#[derive(Debug, Default)]
pub struct Actuators {
    /// avg <- d * avg + (1 - d) * theta (arXiv 2508.12531).
    pub average: Option<Vec<f32>>,
    /// Parameters and optimizer before the last update, kept if a policy may
    /// roll back.
    pub before: Option<(Vec<f32>, AdamW)>,
}

impl Actuators {
    /// Values it comes to hold for so many parameters, if policies use all they may:
    /// what was before an update is kept until its successor is copied.
    pub fn values(allowed: wit::Actuators, parameters: usize) -> usize {
        let ema = usize::from(allowed.contains(wit::Actuators::EMA));
        let before = usize::from(allowed.contains(wit::Actuators::ROLL_BACK));
        parameters * (ema + 2 * before * (1 + AdamW::MOMENTS))
    }

    pub fn remember(&mut self, parameters: &[f32], optimizer: &AdamW) {
        self.before = Some((parameters.to_vec(), optimizer.clone()));
    }

    /// The state before the last update, once.
    pub fn take_back(&mut self) -> Option<(Vec<f32>, AdamW)> {
        self.before.take()
    }

    pub fn average(&mut self, ema: &Ema, parameters: &mut [f32]) {
        let decay = ema.decay as f32;
        let average = self.average.get_or_insert_with(|| parameters.to_vec());
        for (average, value) in average.iter_mut().zip(parameters) {
            *average = decay * *average + (1.0 - decay) * *value;
            if ema.in_path {
                *value = *average;
            }
        }
    }

    /// The moving average, if a policy kept one: what is exported then.
    pub fn shadow(&self) -> Option<&[f32]> {
        self.average.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_starts_at_the_parameters_and_follows() {
        let mut actuators = Actuators::default();
        let ema = Ema {
            decay: 0.9,
            in_path: false,
        };
        actuators.average(&ema, &mut [1.0]);
        let mut values = [2.0];
        actuators.average(&ema, &mut values);
        assert!((actuators.shadow().expect("kept")[0] - 1.1).abs() < 1e-6);
        assert_eq!(values, [2.0]);
    }

    #[test]
    fn in_path_writes_the_average_back() {
        let mut actuators = Actuators::default();
        let ema = Ema {
            decay: 0.9,
            in_path: true,
        };
        actuators.average(&ema, &mut [1.0]);
        let mut values = [2.0];
        actuators.average(&ema, &mut values);
        assert!((values[0] - 1.1).abs() < 1e-6);
    }
}
