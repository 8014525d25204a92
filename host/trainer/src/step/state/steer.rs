//! Which reference teaches: the one as it is, or a steered one.

use host_contract::Regularization;

use super::State;
use crate::actuators::steering::{ActiveSteering, SteeringState};
use crate::error::Result;
use crate::signals::reference::Reference;
use crate::signals::sensors::Sensors;
use crate::step::context::TrainingSpec;

impl State<'_> {
    /// Puts in force what the policies ask of steering, if they do.
    pub fn steer(&mut self, asked: Option<&Regularization>) -> Result<()> {
        match asked.and_then(|asked| asked.steering) {
            Some(steering) => self.put_in_force(steering.into()),
            None => Ok(()),
        }
    }

    /// From here on another reference teaches, which knows nothing of what the one before
    /// said. Signals are read off the reference as it is.
    pub(crate) fn put_in_force(&mut self, in_force: SteeringState) -> Result<()> {
        let Some(steered) = &mut self.steered else {
            return Ok(());
        };
        if !steered.put(in_force)? {
            return Ok(());
        }
        let unsteered = reference(self.spec, self.sensors.as_ref());
        let teacher = steered.teacher().cloned();
        if self.sensors.as_ref().is_some_and(Sensors::needs_reference) {
            self.teacher = teacher.map(|steering| unsteered.steered(steering));
        } else {
            self.reference = match teacher {
                Some(steering) => unsteered.steered(steering),
                None => unsteered,
            };
        }
        Ok(())
    }

    /// What is in force, where there is something to steer by.
    pub fn steering(&self) -> Option<SteeringState> {
        self.steered.as_ref().map(ActiveSteering::in_force)
    }
}

/// The reference of the safety anchors, which shows nothing but what is held to. What it says
/// of some hundred prompts is small beside the samples', so it is no part of their budget.
pub(super) fn anchors_reference<'a>(spec: &TrainingSpec<'a>) -> Reference<'a> {
    let decoder = &spec.context.model.decoder;
    let memory = if spec.config.reference_cache_mib == 0 { 0 } else { u64::MAX };
    Reference::new(decoder, &[], spec.config.micro_batch(), memory, None)
}

/// The reference as it is, with the memory that it may take: half, if signals are read off
/// it while a steered one may teach.
pub(super) fn reference<'a>(spec: &TrainingSpec<'a>, sensors: Option<&Sensors>) -> Reference<'a> {
    let signals = sensors.is_some_and(Sensors::needs_reference);
    let halves = signals && spec.steering().is_some();
    let memory = (spec.config.reference_cache_mib as u64) << 20;
    Reference::new(
        &spec.context.model.decoder,
        sensors.map_or(&[][..], Sensors::reference_taps),
        spec.config.micro_batch(),
        if halves { memory / 2 } else { memory },
        spec.context.reference.as_ref(),
    )
}
