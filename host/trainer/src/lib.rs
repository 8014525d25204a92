//! Data, signals, objective, optimizer and run loop of a policy-steered fine-tune.
//!
//! [`run`] is the loop; [`recipe`] is the whole fine-tune around it.

pub mod actuators;
pub mod advisor;
pub mod calibration;
pub mod canary;
pub mod checkpoint;
pub mod compare;
pub mod config;
pub mod conflict;
pub mod data;
pub mod demo;
pub mod drift;
pub mod dry_run;
pub mod error;
pub mod evaluation;
pub mod follow;
pub mod judges;
pub mod manifest;
pub mod measure;
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
pub mod report;
pub mod run;
pub mod run_dir;
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
