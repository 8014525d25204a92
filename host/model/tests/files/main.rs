//! Models as files: loading, tokenizing, generating, adapters, export.
#![allow(clippy::unwrap_used)]

mod adapters;
mod agreement;
mod bert;
mod chat;
mod export;
mod generate;
mod gguf;
mod gguf_hostile;
mod gguf_keys;
mod held;
mod hub;
mod load;
mod mirror;
mod peft;
mod smollm2;
mod thinking;
mod tiny;
mod tiny_bert;
mod tiny_gguf;
mod tokenizers;
