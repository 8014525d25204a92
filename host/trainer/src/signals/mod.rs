//! What a step measures for the policies, a file for each signal that is measured here.

pub mod reference;
pub mod sample_loss;
pub mod sensors;
pub mod taps;

pub use sensors::{
    ModelReadout, Readouts, Sensors, StepContext, reads_current, reads_reference,
    reference_log_probs, reference_taps,
};
