//! Servers that a configuration names: what their addresses may be, who agreed to them, and one
//! client for all.

mod address;
mod client;

pub use address::Address;
pub use client::{Body, Client};
