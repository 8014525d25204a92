//! Activations at the taps that policies ask for.

use host_contract::{Needs, Signals, Source, Tap};

use super::measured::{MeasuredSignal, Measurements, Moment, Reads};
use super::taps;
use crate::error::Result;

pub(super) struct Activations;

impl MeasuredSignal for Activations {
    fn name(&self) -> &'static str {
        "activations"
    }

    fn reads(&self, needs: &Needs) -> Reads {
        let from = |source| needs.taps.iter().any(|tap| tap.source == source);
        Reads {
            reference: from(Source::Reference),
            current: from(Source::Current),
            ..Reads::default()
        }
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        let width = at.decoder.config.hidden_size;
        let (reference, current) = (at.reference.taps.iter(), at.current.taps.iter());
        to.signals.activations = taps::gather(&at.taps.reference, reference, width);
        to.signals.activations.extend(taps::gather(&at.taps.current, current, width));
        Ok(())
    }

    /// The taps of the policy, in its order.
    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        let all = &measured.signals.activations;
        let of_tap = |tap: &Tap| all.iter().find(|one| one.tap == *tap).cloned();
        to.activations = needs.taps.iter().filter_map(of_tap).collect();
    }
}
