//! Trackers of experiments: what a run tells TensorBoard, MLflow and the like while it goes on.
//!
//! A run tells [`Trackers`] what happens as [`Event`]s: named numbers of a step, what an
//! evaluation found, a stage that begins. Each tracker is whatever implements
//! `Tracker`, a file of `kinds` and a key of `[trackers]`, and works on a thread of its own behind
//! a queue of bounded length. So none can change what a run learns, stop it or keep it waiting:
//! what doesn't fit into a queue, or can't be delivered, is left out, counted and told.
//!
//! They get numbers, names and digests, and nothing of the text of the data.

mod clock;
mod config;
mod event;
mod kinds;
mod tracker;
mod trackers;
mod web;
mod worker;

pub use config::{Asked, TrackersConfig};
pub use event::{About, Arm, Ending, Event, Status};
pub use kinds::{MlflowConfig, OtlpConfig, TensorBoardConfig, WebhookConfig};
pub use trackers::Trackers;
