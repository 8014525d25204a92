//! What a step measures for the policies, a file for each signal that is measured here.

mod activations;
mod canary;
mod drift;
mod gradient_conflict;
mod judges;
pub mod measured;
mod previous;
pub mod readout;
pub mod reference;
mod sample_loss;
pub mod sensors;
mod steering;
pub mod table;
pub mod taps;
mod tokens;
mod trials;

pub use readout::{ModelReadout, StepContext};
pub use sensors::{Sensors, reads_current, reads_reference, reference_log_probs, reference_taps};
