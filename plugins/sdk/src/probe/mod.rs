//! The activation-based risk predictor of arXiv 2602.17546: a classifier on the hidden states
//! of the frozen reference, calibrated on labelled prompts.

mod calibration;
mod classifier;
mod parameters;
mod reading;
mod settings;
mod splits;

pub use calibration::calibrate;
pub use classifier::Classifier;
pub use parameters::Fitted;
pub use reading::{Reading, Risk};
pub use settings::{Method, Place, Settings};
