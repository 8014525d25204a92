//! Data, signals, objective, optimizer and run loop of a policy-steered fine-tune.
//!
//! [`run`] is the loop; [`recipe`] is the whole fine-tune around it.

pub mod actuators;
pub mod advisor;
pub mod calibration;
pub mod checkpoint;
pub mod compared;
pub mod config;
pub mod conflict;
pub mod drift;
pub mod dry_run;
pub mod error;
pub mod follow;
pub mod manifest;
pub mod micro_batch;
pub mod objective;
pub mod observer;
pub mod offer;
pub mod optimizer;
pub mod parameters;
pub mod policies;
pub mod prepare;
pub mod ranks;
pub mod ratio;
pub mod recipe;
pub mod records;
pub mod reference;
pub mod run;
pub mod run_dir;
pub mod sample_loss;
pub mod schedule;
pub mod sensors;
pub mod stages;
pub mod state;
pub mod steering;
pub mod subspace;
pub mod taps;
pub mod training;

pub use config::RunConfig;
pub use error::{Error, Result};

// The rooms that were modules here.
pub use host_data as data;
pub use host_data::demo;
pub use host_eval::{canary, compare, evaluation, measure, report};
pub use host_judges as judges;
