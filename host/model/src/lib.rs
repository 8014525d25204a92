//! Trainable decoder of the Llama family on candle: weights, LoRA adapter,
//! forward pass with taps, loss head and cached decoding. Knows no policy.

pub mod config;
pub mod decoder;
pub mod error;
pub mod lora;
pub mod weights;

pub use config::{Architecture, Config, Rope, RopeScaling};
pub use decoder::{Decoder, Forward, HeadLoss, HeadRows, Kernels, KvCache, Packed, TapRows};
pub use error::{Error, Result};
pub use lora::{Lora, LoraConfig, Target};
pub use weights::{LayerWeights, Linear, Weights};
