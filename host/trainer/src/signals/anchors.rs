//! Divergence on the safety anchors of the last visit, which measured it.

use host_contract::{Needs, Signals};

use super::measured::{MeasuredSignal, Measurements, Moment};
use crate::error::Result;

pub(super) struct Anchors;

impl MeasuredSignal for Anchors {
    fn name(&self) -> &'static str {
        "anchors"
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        to.signals.anchors.clone_from(&at.step.anchors);
        Ok(())
    }

    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        to.anchors = measured.signals.anchors.clone().filter(|_| needs.anchors.is_some());
    }
}
