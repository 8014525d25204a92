//! Distance of the model in training from the reference.

use host_contract::{Needs, Signals};

use super::measured::{MeasuredSignal, Measurements, Moment};
use crate::error::Result;
use crate::parameters::distance;

pub(super) struct Drift;

impl MeasuredSignal for Drift {
    fn name(&self) -> &'static str {
        "drift"
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        if at.needs.iter().any(|needs| needs.drift) {
            to.signals.drift = Some(distance::update_norm(at.adapter, &at.decoder.weights)?);
        }
        Ok(())
    }

    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        to.drift = measured.signals.drift.filter(|_| needs.drift);
    }
}
