//! Policies that behave and policies that don't, made from text.
#![allow(clippy::unwrap_used)]

mod answers;
mod audit;
mod calls;
mod contracts;
mod coverage;
mod crashes;
mod faults;
mod files;
mod fuzz;
mod interface;
mod journal;
mod needs;
mod plugins;
mod support;
mod timestamp;
