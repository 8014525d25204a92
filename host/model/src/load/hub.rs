//! Models and data sets from the Hugging Face Hub or a mirror of it, in the cache that Python uses, too.
//!
//! `HF_ENDPOINT` (a mirror), `HF_HOME` and `HF_HUB_CACHE` (the cache), `HF_TOKEN` (private and gated models),
//! `HF_HUB_DOWNLOAD_TIMEOUT` (seconds) and `HF_HUB_OFFLINE` mean what they mean to Python's `huggingface_hub`.
//!
//! A mirror isn't trusted: what it says becomes no path, files are as large as announced and large ones have the
//! announced digest, the token goes nowhere else, and everything has a time limit.

mod access;
mod cache;
mod client;
pub mod datasets;
mod exported;
mod kind;
mod models;
pub mod push;
mod request;

pub use self::access::HubAccess;
pub use self::models::{Snapshot, fetch};
