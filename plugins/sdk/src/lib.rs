//! Write a safety policy for `risk:policy@0.2.0`.
//!
//! A policy is a pure function that a training host calls at every optimizer
//! step. Implement [`Policy`] for a type, name it in [`export!`], build the crate
//! as a `cdylib` for `wasm32-unknown-unknown`, and the result is a component that
//! imports nothing.
//!
//! ```
//! use risk_policy::prelude::*;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(default)]
//! struct Settings {
//!     kl_weight: f64,
//! }
//!
//! impl Default for Settings {
//!     fn default() -> Self {
//!         Self { kl_weight: 0.5 }
//!     }
//! }
//!
//! struct Constant;
//!
//! impl Policy for Constant {
//!     type Settings = Settings;
//!     const NAME: &str = "constant";
//!     const VERSION: &str = "0.1.0";
//!     const SUMMARY: &str = "The same KL weight at every step.";
//!     const SETTINGS_SCHEMA: &str = r#"{
//!         "type": "object",
//!         "properties": { "kl_weight": { "type": "number", "default": 0.5 } }
//!     }"#;
//!
//!     fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
//!         let samples = call.signals.samples.len();
//!         Ok(Assessment::new(
//!             vec![0.0; samples],
//!             Regularization::constant(samples, 1.0, call.settings.kl_weight),
//!         ))
//!     }
//! }
//!
//! risk_policy::export!(Constant);
//! # fn main() {}
//! ```
//!
//! Everything here also compiles natively, so a policy is tested with plain
//! `cargo test`. All mathematics is deterministic: sums run in a fixed order of
//! lanes, nothing fuses multiply and add, and whatever is random takes a seed.

pub mod activations;
pub mod adaptive;
pub mod anchors;
pub mod assessment;
pub mod bindings;
pub mod bytes;
pub mod canary;
mod component;
pub mod fixtures;
pub mod gradient_agreement;
pub mod hinge;
pub mod judgements;
pub mod mean_difference;
pub mod mlp;
pub mod needs;
pub mod policy;
pub mod probe;
pub mod regularization;
pub mod sample_loss;
pub mod settings;
pub mod smoothing;
pub mod standardizer;

pub use component::Component;
pub use host_stats::{lanes, lbfgs, logistic, matrix, platt, random};
pub use policy::{Call, Policy};

/// How well a score separates two classes.
pub mod metrics {
    pub use host_stats::logistic::mean_log_loss;
    pub use host_stats::{auprc, auroc, tpr_at_fpr};
}

/// What nearly every policy uses.
pub mod prelude {
    pub use crate::bindings::*;
    pub use crate::policy::{Call, Policy};
}

/// Exports a [`Policy`] as the component's `assessor` interface.
///
/// Outside WebAssembly this expands to nothing, so the same crate builds for
/// native unit tests.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::Component<$policy>;
            $crate::bindings::generated::export!(Exported with_types_in $crate::bindings::generated);
        };
    };
}
