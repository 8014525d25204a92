//! Steering in a run: which vectors there are, which of them is in force, and what a
//! policy is told of that.
//!
//! A policy that declares `needs.steering` gets one vector, at the layers it names, that is
//! fitted before the first step or read from a file, and the refusal direction at the same
//! layers to compare it with. The model in training is never steered. What
//! `regularization.steering` asks for is in force from its step on, until something else
//! is asked for: on the reference while it teaches, or, with `reference` unset, on the
//! fine-tuned model when it is used, for which the run writes `steering.safetensors`.

pub mod effect;
pub mod fit;
mod prepare;

pub use prepare::{at_layers, check, checked, dry_configure, instructed_on, prepare, read, sides};
