//! What became of the step before.

use host_contract::{Needs, Signals};

use super::measured::{MeasuredSignal, Measurements, Moment};
use crate::error::Result;

pub(super) struct Previous;

impl MeasuredSignal for Previous {
    fn name(&self) -> &'static str {
        "previous"
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        to.signals.previous = at.step.previous;
        Ok(())
    }

    fn view(&self, _needs: &Needs, measured: &Measurements, to: &mut Signals) {
        to.previous = measured.signals.previous;
    }
}
