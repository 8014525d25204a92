//! The readers, by what they read.

pub mod data;
pub mod models;
pub mod network;
pub mod policies;
pub mod reports;
