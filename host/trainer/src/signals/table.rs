//! Every signal that is measured, in the order of the contract's table.

use host_contract::Needs;

use super::measured::{MeasuredSignal, Reads};
use super::{
    activations, canary, drift, gradient_conflict, judges, previous, sample_loss, steering, tokens,
    trials,
};

pub static MEASURED: [&dyn MeasuredSignal; 11] = [
    &activations::Activations,
    &judges::Judges,
    &judges::Prefixes,
    &tokens::Tokens,
    &canary::Canary,
    &trials::Trials,
    &gradient_conflict::Conflict,
    &drift::Drift,
    &sample_loss::SampleLoss,
    &steering::Steering,
    &previous::Previous,
];

/// What a policy with these needs reads before it speaks.
pub fn reads(needs: &Needs) -> Reads {
    let all = MEASURED.iter().map(|signal| signal.reads(needs));
    all.fold(Reads::default(), |sum, one| sum | one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_of_the_contract_is_measured() {
        let measured: Vec<&str> = MEASURED.iter().map(|signal| signal.name()).collect();
        let known: Vec<&str> = host_contract::SIGNALS.iter().map(|signal| signal.name()).collect();
        assert_eq!(measured, known);
    }
}
