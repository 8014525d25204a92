//! Data, signals, objective, optimizer and run loop of a policy-steered fine-tune.

pub mod data;
pub mod measure;
