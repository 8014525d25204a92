//! The gradient of a step's task samples against that of its alignment samples, of the step
//! before, which measured it.

use host_contract::{Needs, Signals};

use super::measured::{MeasuredSignal, Measurements, Moment};
use crate::error::Result;

pub(super) struct Conflict;

impl MeasuredSignal for Conflict {
    fn name(&self) -> &'static str {
        "gradient-conflict"
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        to.signals.gradient_conflict = at.step.gradient_conflict;
        Ok(())
    }

    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        to.gradient_conflict =
            measured.signals.gradient_conflict.filter(|_| needs.gradient_conflict);
    }
}
