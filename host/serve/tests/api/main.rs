//! The API through real sockets, with the embedded demo model.
#![allow(clippy::unwrap_used)]

mod company;
mod crowd;
mod endpoints;
mod limits;
mod refusals;
mod scores;
mod sizes;
mod streaming;
mod support;
mod thinking;
