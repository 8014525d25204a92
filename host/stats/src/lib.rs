//! Statistics that host and policies share.
//!
//! Policies compile this crate too, so it depends on the standard library alone and does
//! no I/O. All of it is deterministic: sums run in a fixed order, nothing fuses multiply
//! and add, and whatever is random takes a seed.

#![warn(missing_docs)]

pub mod lanes;
pub mod lbfgs;
pub mod logistic;
pub mod matrix;
mod paired;
pub mod platt;
pub mod random;
mod ranking;
mod wilson;

pub use paired::{Resampled, mcnemar_exact, resampled_95};
pub use ranking::{auprc, auroc, tpr_at_fpr};
pub use wilson::wilson_95;
