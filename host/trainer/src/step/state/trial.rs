//! Trial updates: what the model would be after this step, before the policies speak.
//!
//! A trial answers "what would this batch do to the model if nobody held it", so its
//! gradient is that of plain fine-tuning, the cross-entropy of all samples, whatever the
//! policies asked for at the step before. It takes the run's own gradient clip and the
//! optimizer as it stands, at each scale of the scheduled learning rate. Then everything is
//! what it was, bit for bit.

use host_contract::Trial;

use super::differentiate::Descent;
use super::{Measured, State};
use crate::actuators::objective;
use crate::error::Result;
use crate::parameters::add;
use crate::records::StepRecord;
use crate::step::micro_batch::MicroBatch;

impl State<'_> {
    /// Costs a forward and a backward pass, which are the step's own if the policies then
    /// leave the loss as it is, and the canary once per scale. A gradient that is not
    /// finite has no trials.
    pub(super) fn try_updates(
        &mut self,
        measured: &mut Measured,
        micro: &[MicroBatch],
    ) -> Result<()> {
        let Some(sensors) = &self.sensors else {
            return Ok(());
        };
        let scales = sensors.trial_scales();
        if scales.is_empty() {
            return Ok(());
        }
        let weights = objective::plain(&measured.context.offsets, self.spec.config.loss);
        let weights = weights.slice(measured.tokens());
        let mut record = StepRecord::default();
        let plain = Descent { weights: &weights, subset: None, anchors: None };
        self.differentiate(measured, micro, &plain, &mut record)?;
        if let (Some(canary), true) = (&self.spec.context.canary, self.spec.ranks.is_root()) {
            let mut gradient = self.gradient.clone();
            if let Some(alignment) = &self.alignment {
                add(&mut gradient, alignment);
            }
            if record.loss.is_finite() && gradient.iter().all(|value| value.is_finite()) {
                self.clip(&mut gradient, None);
                let rate = measured.context.learning_rate;
                for scale in scales {
                    let (mut parameters, mut optimizer) =
                        (self.parameters.clone(), self.optimizer.clone());
                    optimizer.step(&mut parameters, &gradient, rate * scale);
                    self.layout.hold(&self.parameters, &mut parameters);
                    self.layout.write(&parameters)?;
                    let margins = canary
                        .margins(&self.spec.context.model.decoder, Some(self.spec.adapter))?;
                    measured.context.trials.push(Trial { scale, margins });
                }
                self.layout.write(&self.parameters)?;
            }
        }
        measured.plain = Some(record);
        Ok(())
    }
}
