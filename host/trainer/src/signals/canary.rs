//! Refusal margins of the held-out prompts, at the steps before which a policy wants them.

use host_contract::{self as wit, Needs, Signals};

use super::measured::{MeasuredSignal, Measurements, Moment};
use crate::error::Result;

pub(super) struct Canary;

impl MeasuredSignal for Canary {
    fn name(&self) -> &'static str {
        "canary"
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        let step = at.step.step;
        if let Some(canary) = at.canary.filter(|_| at.needs.iter().any(|needs| due(needs, step))) {
            let margins = canary.margins(at.decoder, Some(at.adapter))?;
            to.signals.canary = Some(wit::Canary { step, margins });
        }
        Ok(())
    }

    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        to.canary = measured.signals.canary.clone().filter(|_| due(needs, to.step));
    }
}

/// Whether a policy wants the canary's margins before this step.
pub(super) fn due(needs: &Needs, step: u64) -> bool {
    let every = needs.canary_every;
    every.is_some_and(|every| step.is_multiple_of(u64::from(every.max(1))))
}
