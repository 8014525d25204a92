//! How the steering in force relates to safety.

use host_contract::{Needs, Signals};

use super::canary::due;
use super::measured::{MeasuredSignal, Measurements, Moment};
use crate::error::Result;

pub(super) struct Steering;

impl MeasuredSignal for Steering {
    fn name(&self) -> &'static str {
        "steering"
    }

    /// After the canary, whose margins it compares with.
    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        if let Some(steered) = at.steered {
            let margins = to.signals.canary.as_ref().map(|canary| canary.margins.as_slice());
            let signals = steered.signals(at.decoder, at.adapter, at.canary, margins)?;
            to.signals.steering = Some(signals);
        }
        Ok(())
    }

    /// The margins with and without it come with those of the canary.
    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        to.steering = measured.signals.steering.clone().filter(|_| needs.steering.is_some());
        if let Some(signals) = to.steering.as_mut().filter(|_| !due(needs, to.step)) {
            signals.margins_without.clear();
            signals.margins_with.clear();
        }
    }
}
