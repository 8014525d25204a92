//! The pull towards where the alignment share last changed.

use host_contract::{Actuators as Declared, Anchor, AnchorTarget, Needs, Regularization};

use super::any_may;
use super::stage::{Point, StepActuator};
use crate::parameters::optimizer::AdamW;
use crate::records::checkpoint::{Progress, Saved};

pub(super) struct Pull {
    /// The parameters when the alignment share last changed, at first those that the run
    /// began with; kept if a policy may pull towards them.
    switch: Option<Vec<f32>>,
}

pub(super) fn new(needs: &[Needs], parameters: &[f32]) -> Box<dyn StepActuator> {
    let declared = any_may(needs, Declared::ANCHOR);
    Box::new(Pull { switch: declared.then(|| parameters.to_vec()) })
}

impl StepActuator for Pull {
    fn vectors(&self) -> usize {
        usize::from(self.switch.is_some())
    }

    /// Adds the gradient of strength / 2 * |parameters - switch|^2, and returns its value. The pull
    /// to the reference is one of the weights, and is added where they are.
    fn gradient(&mut self, asked: &Regularization, at: &mut Point<'_>) -> f64 {
        match (asked.anchor, &self.switch) {
            (Some(Anchor { target: AnchorTarget::LastSwitch, strength }), Some(switch)) => {
                pull_to(switch, strength, at.parameters, at.gradient)
            }
            // Without a switch it was declared by nobody: an assessment that uses it is refused before.
            _ => 0.0,
        }
    }

    fn share_changed(&mut self, parameters: &[f32]) {
        if let Some(switch) = &mut self.switch {
            switch.copy_from_slice(parameters);
        }
    }

    fn kept(&self) -> Vec<(&'static str, &[f32])> {
        self.switch.iter().map(|switch| ("switch", &switch[..])).collect()
    }

    fn mark(&self, progress: &mut Progress) {
        progress.switched = self.switch.is_some();
    }

    fn restore(&mut self, saved: &mut Saved, size: usize, _: &AdamW) -> Result<(), String> {
        if saved.progress.switched {
            self.switch = Some(saved.take("switch", size)?);
        }
        Ok(())
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
        let mut pull = Pull { switch: None };
        pull.share_changed(&[2.0]);
        assert!(pull.kept().is_empty());
        pull.switch = Some(vec![1.0]);
        pull.share_changed(&[2.0]);
        assert_eq!(pull.kept(), [("switch", &[2.0][..])]);
    }
}
