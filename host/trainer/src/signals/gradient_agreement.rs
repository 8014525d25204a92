//! Agreement of each sample's gradient with the alignment gradient, which the state measures
//! by a step along it.

use host_contract::{Needs, Signals};

use super::measured::{MeasuredSignal, Measurements, Moment, Reads};
use crate::error::Result;

pub(super) struct Agreement;

impl MeasuredSignal for Agreement {
    fn name(&self) -> &'static str {
        "gradient-agreement"
    }

    fn reads(&self, needs: &Needs) -> Reads {
        let current = needs.gradient_agreement;
        Reads { current, current_log_probs: current, ..Reads::default() }
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        to.signals.gradient_agreement.clone_from(&at.step.gradient_agreement);
        Ok(())
    }

    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        let measured = measured.signals.gradient_agreement.clone();
        to.gradient_agreement = measured.filter(|_| needs.gradient_agreement);
    }
}
