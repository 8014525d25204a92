//! The end-to-end tests: the real program and the files that come with it.
//!
//! One module for each concern, in one binary, which links the libraries once.

#![allow(clippy::unwrap_used)]

#[path = "../host/trackers/tests/support/event_file.rs"]
mod event_file;
#[path = "../host/data/tests/fake_hub/mod.rs"]
mod fake_hub;
mod program;
#[allow(dead_code)]
#[path = "../host/audit/tests/support/mod.rs"]
mod support;

mod actuators;
mod adapters;
mod anchors;
mod audit;
mod authoring;
mod bad_input;
mod builtin;
mod cases;
mod consent;
mod data;
mod dry_run;
mod durable;
mod during;
mod evaluation;
mod evidence;
mod first_minutes;
mod generated;
mod golden;
mod hand_over;
mod hostile;
mod isolation;
mod judge_failures;
mod judges;
mod models;
mod ordinary_days;
#[cfg(feature = "mpi")]
mod parallel;
mod policy_tools;
mod readers;
mod readme;
mod reference;
mod registry;
mod report;
mod rows;
mod serve;
mod shown;
mod smollm2;
mod snippets;
mod steering;
mod study;
mod tampering;
mod thinking;
mod together;
mod trackers;
mod trackers_servers;
mod train;
mod trust;
