//! Models as files: loading, tokenizing, generating, adapters, export.
#![allow(clippy::unwrap_used)]

mod adapters;
mod agreement;
mod bert;
mod chat;
mod experts;
mod export;
mod export_gguf;
mod generate;
mod gguf;
mod gguf_hostile;
mod gguf_keys;
mod held;
mod hub;
mod load;
mod mirror;
mod modelfile;
mod peft;
mod push;
mod push_server;
mod shapes;
mod smollm2;
mod thinking;
mod tiny;
mod tiny_bert;
mod tiny_gguf;
mod tokenizers;
