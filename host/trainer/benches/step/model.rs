//! The model that is timed.

use std::path::Path;

use candle_core::{DType, Device};
use host_model::families::{Llama, Mixtral};
use host_model::{
    BlockFormat, Config, Decoder, Experts, Kernels, LoadOptions, Lora, LoraConfig, Source,
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

/// Random weights of a shape, and a fresh adapter on every projection that can have one, or on
/// those of attention.
pub fn random(
    size: &str,
    bf16: bool,
    held: Option<BlockFormat>,
    attention: bool,
) -> Outcome<(Decoder, Lora)> {
    let config = match size {
        "llama-8b" => llama(),
        "smollm2-experts" => experts(),
        _ => smollm2(),
    };
    let mut targets = config.targets().to_vec();
    targets.retain(|target| !attention || target.part() == "self_attn");
    let weights = weights::random(&config, &Device::Cpu, dtype(bf16), held)?;
    let decoder = Decoder::new(config.clone(), weights, Kernels::Fused)?;
    let settings = LoraConfig::new(16, 32.0, &targets);
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

/// Every row goes to two of eight experts, which together are as large as the dense MLP.
fn experts() -> Config {
    let dense = smollm2();
    let experts = Experts {
        count: 8,
        per_token: 2,
        intermediate_size: dense.intermediate_size / 2,
        normalize: true,
        layers: None,
    };
    Config { family: &Mixtral, experts: Some(experts), ..dense }
}
