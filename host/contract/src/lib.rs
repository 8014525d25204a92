//! The contract between host and policy: what is measured, what may be steered, and
//! the checks of everything that a policy says.
//!
//! A policy is a pure function (see `wit/v0.2/policy.wit`). This crate has its types, its
//! versions and its rules; it knows no files, no tensors and no training. [`SIGNALS`] and
//! [`ACTUATORS`] are the two tables that hold all that there is to know about a measurement
//! and about a thing to steer.

#![warn(missing_docs)]

mod actuators;
mod assessment;
mod calibration;
mod canonical;
mod combine;
mod exports;
mod guardrails;
mod invalid;
mod needs;
mod run;
mod signals;
mod token_set;
mod types;
mod v0_1;
mod version;

pub use actuators::{
    ACTUATORS, Actuator, Actuators, Anchor, AnchorTarget, Decisions, Declared, Divergence, Ema,
    RatioClip, Regularization, Steering,
};
pub use assessment::{Assessment, Expected, check_metrics, validate_assessment};
pub use calibration::{Calibration, Candidate, Example, Examples, Split, examples_bytes};
pub use canonical::{assessment_from_json, assessment_to_json};
pub use combine::{Combiner, Standing, StandsAlone, check_together, fail_closed};
pub use exports::{AssessArguments, Exports, Functions};
pub use guardrails::{Guardrails, Held, held, less_held};
pub use invalid::Invalid;
pub use needs::{
    actuators_summary, check_capabilities, exceeds, needs_summary, signals_summary, validate_needs,
};
pub use run::{RunCapabilities, Unmet};
pub use signals::{
    Activations, AnchorDivergence, AnchorNeed, AnchorSignals, Canary, Damage, GradientConflict,
    Journalled, JudgeNeed, JudgeScores, Judgement, Lists, ListsWriter, Missing, Needs, Outcome,
    Position, PrefixScores, Recorded, Row, SIGNALS, Signal, Signals, Source, SteeringNeed,
    SteeringSignals, SteeringVector, Step, Synthetic, Tap, TokenNeeds, TokenSignals, Trial, drawn,
    signals_bytes,
};
pub use token_set::TokenSet;
pub use types::{Action, Descriptor, JudgementStatus, Metric, Origin, Reason, RunInfo, Sample};
pub use version::{Version, exported_version};
