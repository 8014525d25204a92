//! The model that is timed.

use std::path::Path;

use candle_core::{DType, Device};
use host_model::families::Llama;
use host_model::{
    BlockFormat, Config, Decoder, Kernels, LoadOptions, Lora, LoraConfig, Source, Target,
};

use super::{Outcome, weights};

fn dtype(bf16: bool) -> DType {
    if bf16 { DType::BF16 } else { DType::F32 }
}

/// A model and its adapter from disk.
pub fn load(model: &Path, adapter: &Path, bf16: bool) -> Outcome<(Decoder, Lora)> {
    let options =
        LoadOptions { dtype: dtype(bf16), kernels: Some(Kernels::Fused), ..LoadOptions::default() };
    let model = host_model::load(&Source::Directory(model.into()), &options)?;
    let adapter = Lora::load_peft(adapter, &model.config, &Device::Cpu)?;
    Ok((model.decoder, adapter))
}

/// Random weights of a shape, and a fresh adapter on every projection.
pub fn random(size: &str, bf16: bool, held: Option<BlockFormat>) -> Outcome<(Decoder, Lora)> {
    let config = if size == "llama-8b" { llama() } else { smollm2() };
    let weights = weights::random(&config, &Device::Cpu, dtype(bf16), held)?;
    let decoder = Decoder::new(config.clone(), weights, Kernels::Fused)?;
    let settings = LoraConfig::new(16, 32.0, &Target::ALL);
    Ok((decoder, Lora::new(&config, settings, 1, &Device::Cpu)?))
}

fn llama() -> Config {
    let mut config = Llama::sized(128_256, [4096, 14336], 32, [32, 8]);
    config.rope.theta = 500_000.0;
    config.max_position = 131_072;
    config.tie_embeddings = false;
    config
}

fn smollm2() -> Config {
    let mut config = Llama::sized(49152, [576, 1536], 30, [9, 3]);
    config.rope.theta = 100_000.0;
    config.max_position = 8192;
    config
}
