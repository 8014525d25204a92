//! The way back to the state before the last update.

use host_contract::{Actuators as Declared, Needs};

use super::any_may;
use super::stage::{Point, StepActuator};
use crate::parameters::optimizer::AdamW;
use crate::records::checkpoint::{Progress, Saved};

pub(super) struct RollBack {
    declared: bool,
    /// Parameters and optimizer before the last update.
    before: Option<(Vec<f32>, AdamW)>,
}

pub(super) fn new(needs: &[Needs], _parameters: &[f32]) -> Box<dyn StepActuator> {
    Box::new(RollBack { declared: any_may(needs, Declared::ROLL_BACK), before: None })
}

impl StepActuator for RollBack {
    /// What was before an update is kept until its successor is copied.
    fn vectors(&self) -> usize {
        2 * usize::from(self.declared) * (1 + AdamW::MOMENTS)
    }

    fn before_update(&mut self, at: &Point<'_>) {
        if self.declared {
            self.before = Some((at.parameters.clone(), at.optimizer.clone()));
        }
    }

    /// Once: there is no way back beyond the last update.
    fn roll_back(&mut self, at: &mut Point<'_>) {
        if let Some((parameters, optimizer)) = self.before.take() {
            (*at.parameters, *at.optimizer) = (parameters, optimizer);
        }
    }

    fn kept(&self) -> Vec<(&'static str, &[f32])> {
        match &self.before {
            None => Vec::new(),
            Some((parameters, optimizer)) => vec![
                ("before.parameters", parameters),
                ("before.first", &optimizer.first),
                ("before.second", &optimizer.second),
            ],
        }
    }

    fn mark(&self, progress: &mut Progress) {
        progress.updates_before = self.before.as_ref().map(|(_, optimizer)| optimizer.updates);
    }

    fn restore(&mut self, saved: &mut Saved, size: usize, optimizer: &AdamW) -> Result<(), String> {
        if let Some(updates) = saved.progress.updates_before {
            let mut take = |name| saved.take(name, size);
            let parameters = take("before.parameters")?;
            let (first, second) = (take("before.first")?, take("before.second")?);
            self.before = Some((parameters, optimizer.resumed(first, second, updates)));
        }
        Ok(())
    }
}
