//! The host's side of `tests/peft/parity.py`, which compares it with Python's transformers and peft.
//!
//!     peft_parity logits MODEL ADAPTER|- PROMPTS   last-row logits of every prompt, as JSON
//!     peft_parity loss MODEL ADAPTER|- PROMPTS     mean loss of every prompt, per kernels, as JSON
//!     peft_parity steps MODEL PROMPTS              last-row logits while the second half is decoded, per kernels
//!     peft_parity adapter MODEL OUT SEED           write a random adapter on every projection
//!     peft_parity shaped MODEL OUT SHAPE           write a random adapter of that shape (keys of `[lora]`, as JSON)
//!     peft_parity fresh MODEL OUT SHAPE            write an adapter of that shape as it is before training
//!     peft_parity gradients MODEL ADAPTER PROMPTS  of the mean loss of each prompt, summed, by tensor and kernels
//!     peft_parity merge MODEL ADAPTER OUT          write the merged model
//!
//! PROMPTS is JSON: a list of lists of token ids.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use candle_core::{DType, Device, IndexOp, Tensor};
use host_model::{
    Error, HeadRows, Kernels, LoadOptions, Lora, LoraConfig, Model, Packed, Source, export, load,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // As the product shows it: one line.
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Outcome {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["logits", model, adapter, prompts] => logits(&open(model)?, adapter, prompts),
        ["loss", model, adapter, prompts] => loss(model, adapter, prompts),
        ["steps", model, prompts] => steps(model, prompts),
        ["adapter", model, out, seed] => {
            let model = open(model)?;
            let shape = LoraConfig::new(4, 6.0, model.config.targets());
            random_adapter(&model, Path::new(out), shape, seed.parse()?)
        }
        ["shaped", model, out, shape] => {
            random_adapter(&open(model)?, Path::new(out), serde_json::from_str(shape)?, 9)
        }
        ["fresh", model, out, shape] => {
            let (model, shape) = (open(model)?, serde_json::from_str(shape)?);
            let adapter = Lora::for_weights(&model.config, &model.decoder.weights, shape, 9)?;
            Ok(adapter.save_peft(Path::new(out), &model.config, &model.name)?)
        }
        ["gradients", model, adapter, prompts] => gradients(model, Path::new(adapter), prompts),
        ["merge", model, adapter, out] => {
            let model = open(model)?;
            let adapter = Lora::load_peft(Path::new(adapter), &model.config, &Device::Cpu)?;
            Ok(export::merge(&model, Some(&adapter), Path::new(out), DType::F32)?)
        }
        _ => Err("usage: peft_parity logits|adapter|merge …, see the source".into()),
    }
}

fn open(model: &str) -> Result<Model, Error> {
    open_with(model, None)
}

fn open_with(model: &str, kernels: Option<Kernels>) -> Result<Model, Error> {
    let model = load(&Source::parse(model)?, &LoadOptions { kernels, ..LoadOptions::default() })?;
    model.notices.iter().for_each(|notice| eprintln!("note: {notice}"));
    Ok(model)
}

fn loss(model: &str, adapter: &str, prompts: &str) -> Outcome {
    let prompts: Vec<Vec<u32>> = serde_json::from_str(prompts)?;
    let mut all = Vec::new();
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let model = open_with(model, Some(kernels))?;
        let adapter = match adapter {
            "-" => None,
            folder => Some(Lora::load_peft(Path::new(folder), &model.config, &Device::Cpu)?),
        };
        let mut losses = Vec::new();
        for prompt in &prompts {
            let batch = Packed::from_sequences(std::slice::from_ref(prompt));
            let hidden = model.decoder.forward(&batch, adapter.as_ref(), &[])?.hidden.detach();
            let hidden = hidden.narrow(0, 0, prompt.len() - 1)?;
            let likely = model.decoder.label_log_probs(&hidden, &prompt[1..])?;
            losses.push(-likely.iter().sum::<f32>() / likely.len() as f32);
        }
        all.push(losses);
    }
    println!("{}", serde_json::to_string(&all)?);
    Ok(())
}

fn steps(model: &str, prompts: &str) -> Outcome {
    let prompts: Vec<Vec<u32>> = serde_json::from_str(prompts)?;
    let mut all = Vec::new();
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let model = open_with(model, Some(kernels))?;
        let mut last = Vec::new();
        for prompt in &prompts {
            let (given, decoded) = prompt.split_at(prompt.len().div_ceil(2));
            let batch = Packed::from_sequences(&[given]);
            let (mut hidden, mut cache) = model.decoder.prefill(&batch, None)?;
            for token in decoded {
                hidden = model.decoder.decode_step(&[*token], &mut cache, None)?;
            }
            last.push(model.decoder.logits(&hidden.detach())?.to_vec2::<f32>()?.concat());
        }
        all.push(last);
    }
    println!("{}", serde_json::to_string(&all)?);
    Ok(())
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

fn gradients(model: &str, adapter: &Path, prompts: &str) -> Outcome {
    let prompts: Vec<Vec<u32>> = serde_json::from_str(prompts)?;
    let batch = Packed::from_sequences(&prompts);
    let (mut rows, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (sequence, prompt) in batch.sequences().zip(&prompts) {
        rows.extend((sequence.start..sequence.end - 1).map(|row| row as u32));
        labels.extend_from_slice(&prompt[1..]);
        weights.extend(prompt[1..].iter().map(|_| 1.0 / (prompt.len() - 1) as f32));
    }
    let rows = Tensor::new(rows, &Device::Cpu)?;
    let mut all = Vec::new();
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let model = open_with(model, Some(kernels))?;
        let adapter = Lora::load_peft(adapter, &model.config, &Device::Cpu)?;
        let hidden = model.decoder.forward(&batch, Some(&adapter), &[])?.hidden;
        let rows = HeadRows {
            hidden: &hidden.index_select(&rows, 0)?,
            reference: None,
            labels: &labels,
            task_weights: &weights,
            kl_weights: &vec![0.0; weights.len()],
            subset: None,
        };
        let grads = model.decoder.head_loss(rows)?.loss.backward()?;
        let mut found = BTreeMap::new();
        for (name, var) in adapter.named() {
            let grad = grads.get(var.as_tensor()).ok_or("the loss doesn't reach a tensor")?;
            found.insert(name.to_owned(), grad.flatten_all()?.to_vec1::<f32>()?);
        }
        all.push(found);
    }
    println!("{}", serde_json::to_string(&all)?);
    Ok(())
}

fn random_adapter(model: &Model, out: &Path, config: LoraConfig, seed: u64) -> Outcome {
    let adapter = Lora::for_weights(&model.config, &model.decoder.weights, config, seed)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (_, var) in adapter.named().filter(|(name, _)| name.contains("magnitude")) {
        let factors = (0..var.elem_count()).map(|_| random.random_range(0.8f32..1.2));
        var.set(&(var.as_tensor() * Tensor::from_iter(factors, &Device::Cpu)?)?)?;
    }
    for (_, var) in adapter.named().filter(|(name, _)| name.contains("lora_B")) {
        let values = (0..var.elem_count()).map(|_| random.random_range(-0.2f32..0.2));
        var.set(&Tensor::from_iter(values, &Device::Cpu)?.reshape(var.shape())?)?;
    }
    Ok(adapter.save_peft(out, &model.config, &model.name)?)
}
