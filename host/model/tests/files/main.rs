//! Models as files: loading, tokenizing, generating, adapters, export.
#![allow(clippy::unwrap_used)]

mod adapters;
mod bert;
mod chat;
mod export;
mod generate;
mod gguf;
mod hub;
mod load;
mod smollm2;
mod tiny;
mod tiny_bert;
