//! The study's modules again, so that their unit tests run.
//!
//! As tests of the example itself they would keep `cargo test` from building the example, which tests/study.rs starts.

// What main.rs calls is called by nothing here.
#![allow(dead_code)]

mod answers;
mod arguments;
mod arm;
mod calibration;
mod cell;
mod grid;
mod judge;
mod material;
mod needs;
mod plots;
mod program;
mod record;
mod reference;
mod scenario;
mod settings;
mod summary;
