//! The contract between host and policy: what is measured, what may be steered, and
//! the checks of everything that a policy says.
//!
//! A policy is a pure function (see `wit/v0.1/policy.wit`). This crate has its types
//! and rules; it knows no files, no tensors and no training.

mod assessment;
mod canonical;
mod invalid;
mod needs;
pub mod size;
mod strictest;
mod text;
mod wit;

pub use assessment::{Expected, check_metrics, validate_assessment};
pub use canonical::{assessment_from_json, assessment_to_json};
pub use invalid::Invalid;
pub use needs::{exceeds, needs_summary, validate_needs};
pub use strictest::{strict, strictest};
pub use text::{clean, is_word};
pub use wit::*;
