//! What a step measures for the policies, a file for each signal that is measured here.

mod activations;
mod anchors;
mod canary;
mod drift;
mod gradient_agreement;
mod gradient_conflict;
mod judges;
pub mod measured;
mod previous;
pub mod readout;
pub mod reference;
mod sample_loss;
pub mod sensors;
mod steering;
pub mod taps;
mod tokens;
mod trials;

pub use readout::{ModelReadout, StepContext};
pub use sensors::{Sensors, reads_current, reads_reference, reference_log_probs, reference_taps};

use host_contract::Needs;

use measured::{MeasuredSignal, Reads};

/// Every signal that is measured, in the order of the contract's table.
pub static MEASURED: [&dyn MeasuredSignal; 13] = [
    &activations::Activations,
    &judges::Judges,
    &judges::Prefixes,
    &tokens::Tokens,
    &canary::Canary,
    &trials::Trials,
    &gradient_conflict::Conflict,
    &drift::Drift,
    &sample_loss::SampleLoss,
    &gradient_agreement::Agreement,
    &anchors::Anchors,
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
