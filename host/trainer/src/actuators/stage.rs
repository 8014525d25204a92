//! The trait of an actuator that acts on the gradient, the optimizer or the parameters.

use host_contract::Regularization;

use crate::parameters::Layout;
use crate::parameters::optimizer::AdamW;
use crate::records::checkpoint::{Progress, Saved};

/// What such an actuator may read and change. All vectors are flat, in the order of the
/// layout.
pub struct Point<'a> {
    pub layout: &'a Layout,
    pub parameters: &'a mut Vec<f32>,
    pub gradient: &'a mut Vec<f32>,
    pub optimizer: &'a mut AdamW,
}

/// One actuator over a run: what it keeps from step to step, and where in a step it acts.
/// Each stage does nothing unless an actuator says otherwise. All ranks call every stage
/// with the same values.
pub trait StepActuator {
    /// Vectors as long as the parameters that it comes to hold, if policies use all they
    /// may.
    fn vectors(&self) -> usize {
        0
    }

    /// After the backward pass, before the gradient is clipped; returns what it adds to the
    /// loss of the step.
    fn gradient(&mut self, _asked: &Regularization, _at: &mut Point<'_>) -> f64 {
        0.0
    }

    /// Before the optimizer's update, also at steps of which nothing is asked.
    fn before_update(&mut self, _at: &Point<'_>) {}

    /// After the optimizer's update.
    fn after_update(&mut self, _asked: &Regularization, _at: &mut Point<'_>) {}

    /// Instead of an update, where the action is to roll back.
    fn roll_back(&mut self, _at: &mut Point<'_>) {}

    /// After the share of alignment samples has changed.
    fn share_changed(&mut self, _parameters: &[f32]) {}

    /// Parameters to export in place of the trained ones.
    fn exported(&self) -> Option<&[f32]> {
        None
    }

    /// Tensors of a checkpoint, by their names there.
    fn kept(&self) -> Vec<(&'static str, &[f32])> {
        Vec::new()
    }

    /// Adds to a checkpoint what is no tensor.
    fn mark(&self, _progress: &mut Progress) {}

    /// Takes back what a checkpoint holds of it; `size` is the length of its tensors.
    ///
    /// # Errors
    /// A tensor that is absent or of another length.
    fn restore(
        &mut self,
        _saved: &mut Saved,
        _size: usize,
        _optimizer: &AdamW,
    ) -> Result<(), String> {
        Ok(())
    }
}
