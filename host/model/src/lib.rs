//! Trainable decoder of the Llama family on candle: weights, LoRA adapter,
//! forward pass with taps, loss head and cached decoding. Knows no policy.
#![warn(missing_docs)]

pub mod answering;
pub mod batch;
pub mod bert;
mod budget;
pub mod chat;
pub mod config;
pub mod decoder;
pub mod error;
pub mod export;
pub mod families;
mod fused;
pub mod generate;
mod head;
pub mod load;
pub mod lora;
pub mod matrix;
mod merged;
pub mod message;
mod operation;
mod pass;
pub mod peft;
mod plain;
pub mod sampler;
mod slices;
pub mod steering;
mod tensor_file;
pub mod thinking;
pub mod tokenizer;
pub mod weights;

pub use answering::{Answered, Answering};
pub use batch::DecodingBatch;
pub use chat::{Moment, TemplateOptions};
pub use config::{Config, Experts, Family, Rope, RopeScaling};
pub use decoder::Decoder;
pub use error::{Error, Result};
pub use generate::{GenerateOptions, NewToken, generate};
pub use host_kernels::simd::{Widest, limit_instructions};
pub use host_kernels::split_floats;
pub use load::{EmbeddedModel, HubAccess, LoadOptions, Model, Source, load};
pub use lora::{Lora, LoraConfig, Names, Target};
pub use matrix::{BlockFormat, Matrix};
pub use message::{Chat, Content, Message, TemplateInputs, Utterance};
pub use pass::{
    Forward, HeadLoss, HeadRows, Kernels, KvCache, MicroBatchShape, Noise, NoiseLevels, Overlay,
    Packed, StepMemory, TapRows,
};
pub use sampler::{Sampler, SamplingOptions};
pub use steering::Steering;
pub use tokenizer::{
    ChatTokenizer, EncodedChat, Spoken, Stage, TextStream, ThoughtUse, TokenText, Unlike,
};
pub use weights::{ExpertWeights, GatedWeights, LayerWeights, Linear, MlpWeights, Weights};
