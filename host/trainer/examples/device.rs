//! Times whole optimizer steps of the path that runs on CUDA, with random weights made
//! on the spot, and prints one line of JSON. tests/peft/device.py runs it beside
//! PyTorch and peft.
//!
//! ```text
//! device [--device cpu|cuda|cuda:N] [--shape tiny|smollm2|llama-8b] [--weights f32|bf16]
//!        [--sequences N] [--length N] [--steps N] [--kl] [--checkpoint]
//! ```

#[path = "../benches/step/weights.rs"]
mod weights;

use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device};
use host_model::families::Llama;
use host_model::lora::{Lora, LoraConfig, Target};
use host_model::{Config, Decoder, Kernels};
use host_trainer::data::{Origin, Place, Sample};
use host_trainer::micro_batch::{MicroBatch, scalar};
use host_trainer::objective::TokenWeights;
use host_trainer::optimizer::{AdamW, AdamWConfig};
use host_trainer::parameters::Layout;
use host_trainer::reference::{Reference, stack};

type Failure = Box<dyn std::error::Error>;

struct Options {
    device: Device,
    shape: String,
    dtype: DType,
    sequences: usize,
    length: usize,
    steps: usize,
    kl: bool,
    checkpoint: bool,
}

impl Options {
    fn parse() -> Result<Self, Failure> {
        let mut options = Self {
            device: Device::Cpu,
            shape: "tiny".to_owned(),
            dtype: DType::BF16,
            sequences: 4,
            length: 128,
            steps: 5,
            kl: false,
            checkpoint: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--device" => options.device = device(&value()?)?,
                "--shape" => options.shape = value()?,
                "--weights" => {
                    options.dtype = match value()?.as_str() {
                        "f32" => DType::F32,
                        "bf16" => DType::BF16,
                        other => return Err(format!("{other} is not f32 or bf16").into()),
                    }
                }
                "--sequences" => options.sequences = value()?.parse()?,
                "--length" => options.length = value()?.parse()?,
                "--steps" => options.steps = value()?.parse()?,
                "--kl" => options.kl = true,
                "--checkpoint" => options.checkpoint = true,
                other => return Err(format!("unknown argument {other}").into()),
            }
        }
        if options.sequences > 0 && options.length > 1 && options.steps > 0 {
            Ok(options)
        } else {
            Err("give at least 1 sequence of 2 tokens, and 1 step".into())
        }
    }
}

fn device(name: &str) -> Result<Device, Failure> {
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::Cpu),
        None if name == "cuda" => Ok(Device::new_cuda(0)?),
        Some(("cuda", index)) => Ok(Device::new_cuda(index.parse()?)?),
        _ => Err(format!("{name} is not cpu, cuda or cuda:N").into()),
    }
}

/// Llama-3.1-8B, SmolLM2-135M, and one that any machine runs in seconds.
fn config(shape: &str) -> Result<Config, Failure> {
    let mut config = match shape {
        "tiny" => Llama::sized(512, [64, 160], 2, [4, 2]),
        "smollm2" => Llama::sized(49152, [576, 1536], 30, [9, 3]),
        "llama-8b" => Llama::sized(128_256, [4096, 14336], 32, [32, 8]),
        other => return Err(format!("{other} is not tiny, smollm2 or llama-8b").into()),
    };
    config.rope.theta = 500_000.0;
    config.max_position = 131_072;
    config.tie_embeddings = shape != "llama-8b";
    Ok(config)
}

/// The second half of every sample is its answer.
fn samples(options: &Options, vocabulary: usize) -> Vec<Sample> {
    let length = options.length;
    let sample = |id: usize| Sample {
        id: id as u64,
        origin: Origin::Task,
        messages: std::sync::Arc::default(),
        inputs: std::sync::Arc::default(),
        tokens: (0..length).map(|t| ((id * 7919 + t * 104_729) % vocabulary) as u32).collect(),
        answer: std::iter::once(length / 2..length).collect(),
        prompt_len: length / 2,
        place: Place::line(&Path::new("random").into(), id + 1),
    };
    (0..options.sequences).map(sample).collect()
}

fn main() -> Result<(), Failure> {
    let options = Options::parse()?;
    let config = config(&options.shape)?;
    let weights = weights::random(&config, &options.device, options.dtype, None)?;
    let mut decoder = Decoder::new(config.clone(), weights, Kernels::Plain)?;
    decoder.recompute = options.checkpoint;
    let settings = LoraConfig::new(16, 32.0, &Target::ALL);
    let adapter = Lora::new(&config, settings, 1, &options.device)?;
    let layout = Layout::new(&adapter);
    let mut parameters = layout.read()?;
    let moments = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    let mut optimizer = AdamW::new(moments, layout.len());
    let samples = samples(&options, config.vocab_size);
    let members: Vec<&Sample> = samples.iter().collect();
    let batch = MicroBatch::new(&members);
    let share = 1.0 / batch.labels().len() as f32;
    let weights = TokenWeights {
        constant: 0.0,
        task: vec![share; batch.labels().len()],
        kl: vec![if options.kl { share } else { 0.0 }; batch.labels().len()],
    };
    let mut seconds = Vec::with_capacity(options.steps);
    let mut losses = Vec::with_capacity(options.steps);
    // The first step loads the kernels.
    for step in 0..=options.steps as u64 {
        let started = Instant::now();
        let known = if options.kl {
            Reference::new(&decoder, &[], members.len(), 0, None).of(&members)?
        } else {
            Vec::new()
        };
        let teacher = options.kl.then(|| stack(&known)).transpose()?;
        let forward = batch.forward(&decoder, &adapter, &[])?;
        let hidden = batch.answer_rows(&forward)?;
        let found = batch.head(&decoder, &hidden, teacher.as_ref(), &weights, None)?;
        let mut gradient = vec![0.0; layout.len()];
        layout.accumulate(&found.loss.backward()?, &mut gradient, step)?;
        optimizer.step(&mut parameters, &gradient, 1e-4);
        layout.write(&parameters)?;
        options.device.synchronize()?;
        if step > 0 {
            seconds.push(started.elapsed().as_secs_f64());
            losses.push(scalar(&found.loss)?);
        }
    }
    let line = serde_json::json!({ "seconds": seconds, "losses": losses });
    println!("{line}");
    Ok(())
}
