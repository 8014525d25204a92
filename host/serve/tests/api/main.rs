//! The API through real sockets, with the embedded demo model.
#![allow(clippy::unwrap_used)]

mod company;
mod endpoints;
mod limits;
mod refusals;
mod scores;
mod streaming;
mod support;
mod thinking;
