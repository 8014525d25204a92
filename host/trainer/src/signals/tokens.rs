//! Log-probabilities of the answer tokens under the two models.

use host_contract::{Needs, Signals, TokenNeeds, TokenSignals};

use super::measured::{MeasuredSignal, Measurements, Moment, Reads};
use crate::error::Result;

pub(super) struct Tokens;

impl MeasuredSignal for Tokens {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn reads(&self, needs: &Needs) -> Reads {
        let current = needs.tokens.contains(TokenNeeds::CURRENT);
        let reference = needs.tokens.contains(TokenNeeds::REFERENCE);
        Reads { reference, reference_log_probs: reference, current, current_log_probs: current }
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        to.signals.tokens = Some(TokenSignals {
            offsets: at.step.offsets.clone(),
            current: at.current.log_probs.clone(),
            reference: at.reference.log_probs.clone(),
        });
        Ok(())
    }

    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        let wanted = |flag: TokenNeeds, values: &Vec<f32>| {
            if needs.tokens.contains(flag) { values.clone() } else { Vec::new() }
        };
        let measured = measured.signals.tokens.as_ref();
        let measured = measured.filter(|_| needs.tokens != TokenNeeds::empty());
        to.tokens = measured.map(|measured| TokenSignals {
            offsets: measured.offsets.clone(),
            current: wanted(TokenNeeds::CURRENT, &measured.current),
            reference: wanted(TokenNeeds::REFERENCE, &measured.reference),
        });
    }
}
