//! What a policy may move besides the loss weights and the learning rate: the
//! moving average of the parameters, the way back, and the pull towards a target.

use host_policy::wit::{self, Anchor, AnchorTarget, Ema, Needs};

use crate::parameters::Layout;
use crate::parameters::distance;
use crate::parameters::optimizer::AdamW;

/// State of the actuators over a run. Empty until a policy uses one.
#[derive(Debug, Default)]
pub struct Actuators {
    /// avg <- d * avg + (1 - d) * theta (arXiv 2508.12531).
    pub average: Option<Vec<f32>>,
    /// Parameters and optimizer before the last update, kept if a policy may
    /// roll back.
    pub before: Option<(Vec<f32>, AdamW)>,
    /// The parameters when the alignment share last changed, at first those that the run
    /// began with; kept if a policy may pull towards them.
    pub switch: Option<Vec<f32>>,
}

/// Whether any policy may use this.
pub fn any_may(needs: &[Needs], actuator: wit::Actuators) -> bool {
    needs.iter().any(|needs| needs.actuators.contains(actuator))
}

impl Actuators {
    pub fn new(needs: &[Needs], parameters: &[f32]) -> Self {
        let anchored = any_may(needs, wit::Actuators::ANCHOR);
        Self { switch: anchored.then(|| parameters.to_vec()), ..Self::default() }
    }

    /// Vectors as long as the parameters that it comes to hold, if policies use all they
    /// may: what was before an update is kept until its successor is copied.
    pub fn vectors(needs: &[Needs]) -> usize {
        let may = |actuator| usize::from(any_may(needs, actuator));
        may(wit::Actuators::EMA)
            + may(wit::Actuators::ANCHOR)
            + 2 * may(wit::Actuators::ROLL_BACK) * (1 + AdamW::MOMENTS)
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

    /// The alignment share has changed.
    pub fn switched(&mut self, parameters: &[f32]) {
        if let Some(switch) = &mut self.switch {
            switch.copy_from_slice(parameters);
        }
    }

    /// Adds the gradient of strength / 2 * |parameters - target|^2, and returns its value.
    ///
    /// The distance to the reference is that of the weights, as the signal `drift` has it;
    /// that to an earlier point of the run is one of the adapter's parameters.
    pub fn pull(
        &self,
        anchor: &Anchor,
        layout: &Layout,
        scaling: f64,
        parameters: &[f32],
        gradient: &mut [f32],
    ) -> f64 {
        let strength = anchor.strength;
        match (anchor.target, &self.switch) {
            (AnchorTarget::Reference, _) => {
                distance::pull(layout, scaling, strength, parameters, gradient)
            }
            (AnchorTarget::LastSwitch, Some(switch)) => {
                pull_to(switch, strength, parameters, gradient)
            }
            // Declared by nobody: an assessment that uses it is refused before.
            (AnchorTarget::LastSwitch, None) => 0.0,
        }
    }

    /// The moving average, if a policy kept one: what is exported then.
    pub fn shadow(&self) -> Option<&[f32]> {
        self.average.as_deref()
    }
}

fn pull_to(target: &[f32], strength: f64, parameters: &[f32], gradient: &mut [f32]) -> f64 {
    let mut square = 0.0;
    for ((gradient, value), target) in gradient.iter_mut().zip(parameters).zip(target) {
        let distance = f64::from(*value) - f64::from(*target);
        square += distance * distance;
        *gradient += (strength * distance) as f32;
    }
    strength / 2.0 * square
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_starts_at_the_parameters_and_follows() {
        let mut actuators = Actuators::default();
        let ema = Ema { decay: 0.9, in_path: false };
        actuators.average(&ema, &mut [1.0]);
        let mut values = [2.0];
        actuators.average(&ema, &mut values);
        assert!((actuators.shadow().expect("kept")[0] - 1.1).abs() < 1e-6);
        assert_eq!(values, [2.0]);
    }

    /// rho = 1: the gradient is the distance.
    #[test]
    fn a_switch_pulls_back_to_itself() {
        let mut gradient = [0.5, 0.0];
        let value = pull_to(&[1.0, 2.0], 1.0, &[1.5, 2.0], &mut gradient);
        assert_eq!((value, gradient), (0.125, [1.0, 0.0]));
        let value = pull_to(&[1.0, 2.0], 0.0, &[1.5, 2.0], &mut gradient);
        assert_eq!((value, gradient), (0.0, [1.0, 0.0]));
    }

    #[test]
    fn the_switch_is_kept_for_a_policy_that_may_pull() {
        let mut actuators = Actuators::new(&[], &[1.0]);
        actuators.switched(&[2.0]);
        assert_eq!(actuators.switch, None);
        actuators.switch = Some(vec![1.0]);
        actuators.switched(&[2.0]);
        assert_eq!(actuators.switch, Some(vec![2.0]));
    }

    #[test]
    fn in_path_writes_the_average_back() {
        let mut actuators = Actuators::default();
        let ema = Ema { decay: 0.9, in_path: true };
        actuators.average(&ema, &mut [1.0]);
        let mut values = [2.0];
        actuators.average(&ema, &mut values);
        assert!((values[0] - 1.1).abs() < 1e-6);
    }
}
