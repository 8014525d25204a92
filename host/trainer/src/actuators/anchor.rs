//! The pull towards the reference, or towards where the alignment share last changed.

use host_contract::{Anchor, AnchorTarget};

use super::Actuators;
use crate::parameters::{Layout, distance};

impl Actuators {
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
}
