//! What policies may steer, a file for each actuator that takes more than a number.

pub mod adapter_projection;
pub mod gradient_projection;
mod kept;
pub mod objective;
pub mod ratio_clip;
pub mod steering;
pub mod vectors;

pub use kept::{Actuators, any_may};
