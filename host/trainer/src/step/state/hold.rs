//! What holds the adapter itself: the reference and the alignment subspace.

use host_contract::{Anchor, AnchorTarget, Regularization};

use super::State;
use crate::error::Result;
use crate::parameters::{distance, lengths};
use crate::records::StepRecord;
use crate::step::context::TrainingSpec;

impl State<'_> {
    /// Adds the gradients that hold the parameters: at the reference, and within the alignment
    /// subspace. Returns their loss.
    pub(super) fn hold(&mut self, asked: &Regularization) -> Result<f64> {
        let TrainingSpec { context, adapter, ranks, .. } = *self.spec;
        let mut added = 0.0;
        if let Some(Anchor { target: AnchorTarget::Reference, strength }) = asked.anchor {
            added += self.pull(strength)?;
        }
        if let Some(strength) = asked.alignment_complement.filter(|strength| *strength > 0.0) {
            let mut value = 0.0;
            // The root is the only one that has the base model.
            if let Some(base) = &context.base {
                let gradient = &mut self.gradient;
                value = base.subspaces.pull(adapter, &self.layout, strength, gradient)?;
            }
            ranks.broadcast_values(&mut self.gradient)?;
            let [value] = ranks.totals([value])?;
            added += value;
        }
        Ok(added)
    }

    /// Adds the gradient of strength / 2 * distance^2 from the reference, the distance being that of
    /// the weights, as the signal `drift` has it. Returns its value.
    fn pull(&mut self, strength: f64) -> Result<f64> {
        let TrainingSpec { context, adapter, ranks, .. } = *self.spec;
        let (layout, gradient) = (&self.layout, &mut self.gradient);
        if !adapter.shape().magnitudes {
            return Ok(distance::pull(layout, strength, &self.parameters, gradient));
        }
        // Products of libraries are rounded as the processor rounds: one rank's are everybody's.
        let mut value = 0.0;
        if ranks.is_root() {
            let weights = &context.model.decoder.weights;
            value = lengths::pull(adapter, weights, layout, strength, gradient)?;
        }
        ranks.broadcast_values(&mut self.gradient)?;
        let [value] = ranks.totals([value])?;
        Ok(value)
    }

    /// Projects the adapter onto what alignment changed. The root does it, the only
    /// one that has the base model.
    pub(super) fn project(
        &mut self,
        threshold: Option<f64>,
        least: Option<u32>,
        record: &mut StepRecord,
    ) -> Result<()> {
        let TrainingSpec { context, adapter, ranks, .. } = *self.spec;
        if let Some(base) = &context.base {
            record.projected = Some(base.subspaces.project(adapter, threshold, least)?);
            self.parameters = self.layout.read()?;
        }
        ranks.broadcast_values(&mut self.parameters)?;
        if ranks.is_root() { Ok(()) } else { self.layout.write(&self.parameters) }
    }
}
