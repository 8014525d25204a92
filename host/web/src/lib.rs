//! Requests to servers that nobody vouches for: where they may go, how much of an answer is read and how long it may
//! take, and that no secret follows a redirect to another host.

#![warn(missing_docs)]

pub mod address;
pub mod agent;
mod client;
mod failure;
pub mod wait;

pub use address::is_loopback;
pub use client::{Client, Visit};
pub use failure::{Failure, Result};
