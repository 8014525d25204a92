//! The host's side of `tests/peft/parity.py`, which compares it with Python's transformers and peft.
//!
//!     peft_parity logits MODEL ADAPTER|- PROMPTS   last-row logits of every prompt, as JSON
//!     peft_parity adapter MODEL OUT SEED           write a random adapter on every projection
//!     peft_parity merge MODEL ADAPTER OUT          write the merged model
//!
//! PROMPTS is JSON: a list of lists of token ids.

use std::path::Path;

use candle_core::{DType, Device, IndexOp, Tensor};
use host_model::{
    Error, LoadOptions, Lora, LoraConfig, Model, Packed, Source, Target, export, load,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["logits", model, adapter, prompts] => logits(&open(model)?, adapter, prompts),
        ["adapter", model, out, seed] => {
            random_adapter(&open(model)?, Path::new(out), seed.parse()?)
        }
        ["merge", model, adapter, out] => {
            let model = open(model)?;
            let adapter = Lora::load_peft(Path::new(adapter), &model.config, &Device::Cpu)?;
            Ok(export::merge(&model, Some(&adapter), Path::new(out), DType::F32)?)
        }
        _ => Err("usage: peft_parity logits|adapter|merge …, see the source".into()),
    }
}

fn open(model: &str) -> Result<Model, Error> {
    load(&Source::parse(model)?, &LoadOptions::default())
}

fn logits(model: &Model, adapter: &str, prompts: &str) -> Outcome {
    let prompts: Vec<Vec<u32>> = serde_json::from_str(prompts)?;
    let adapter = match adapter {
        "-" => None,
        folder => Some(Lora::load_peft(Path::new(folder), &model.config, &Device::Cpu)?),
    };
    let batch = Packed::from_sequences(&prompts);
    let hidden = model.decoder.forward(&batch, adapter.as_ref(), &[])?.hidden;
    let last = batch.starts[1..].iter().map(|end| hidden.i(end - 1));
    let last = Tensor::stack(&last.collect::<Result<Vec<_>, _>>()?, 0)?;
    let logits: Vec<Vec<f32>> = model.decoder.logits(&last.detach())?.to_vec2()?;
    println!("{}", serde_json::to_string(&logits)?);
    Ok(())
}

fn random_adapter(model: &Model, out: &Path, seed: u64) -> Outcome {
    let config = LoraConfig { rank: 4, alpha: 6.0, targets: Target::ALL.to_vec() };
    let adapter = Lora::new(&model.config, config, seed, &Device::Cpu)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (_, var) in adapter.named().filter(|(name, _)| name.contains("lora_B")) {
        let values = (0..var.elem_count()).map(|_| random.random_range(-0.2f32..0.2));
        var.set(&Tensor::from_iter(values, &Device::Cpu)?.reshape(var.shape())?)?;
    }
    Ok(adapter.save_peft(out, &model.config, &model.name)?)
}
