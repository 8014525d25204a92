//! Refusal margins after trial updates, which a step makes before it asks the policies.

use host_contract::{Needs, Signals};

use super::measured::{MeasuredSignal, Measurements, Moment};
use crate::error::Result;

pub(super) struct Trials;

impl MeasuredSignal for Trials {
    fn name(&self) -> &'static str {
        "trials"
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        to.signals.trials.clone_from(&at.step.trials);
        Ok(())
    }

    /// Those that the policy asked for, in its order.
    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        let all = &measured.signals.trials;
        let of_scale = |scale: &f64| all.iter().find(|trial| trial.scale == *scale).cloned();
        to.trials = needs.trial_scales.iter().filter_map(of_scale).collect();
    }
}
