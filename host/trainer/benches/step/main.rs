//! Times optimizer steps at the shape of SmolLM2-135M, or another one, and prints a JSON line per
//! measurement. `cargo bench --bench step` measures 4x128 and 8x256, plain and with
//! the KL to the reference, each in a process of its own, so that its peak memory is
//! its own. `cargo bench --bench step -- --help` lists what else can be asked.

mod floor;
mod model;
mod process;
mod weights;

use std::path::PathBuf;
use std::time::Instant;

use candle_core::{Device, Tensor};
use clap::Parser;
use host_model::{BlockFormat, Decoder, HeadRows, Lora, Packed, Widest};
use host_trainer::config::TrainConfig;
use host_trainer::optimizer::AdamW;
use host_trainer::parameters::{Layout, norm};
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Arguments {
    /// Sequences x tokens of a step. The second half of each sequence is its answer.
    #[arg(value_parser = shape)]
    shape: Option<(usize, usize)>,
    /// Hold every answer token to the reference, whose forward is part of the step.
    #[arg(long)]
    kl: bool,
    /// Steps; the first one warms up and is not printed.
    #[arg(long, default_value_t = 4)]
    steps: usize,
    /// Keep only the inputs of blocks.
    #[arg(long)]
    checkpoint_activations: bool,
    /// Compute in bf16.
    #[arg(long)]
    bf16: bool,
    /// Hold random matrices in blocks: q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k.
    #[arg(long, value_parser = format)]
    held: Option<BlockFormat>,
    /// Shape of the random weights: smollm2 (135M), the same with eight experts of which two are as large as its
    /// MLP, or llama-8b.
    #[arg(long, default_value = "smollm2", value_parser = ["smollm2", "smollm2-experts", "llama-8b"])]
    size: String,
    /// Adapt the projections of attention alone.
    #[arg(long)]
    attention: bool,
    /// Use no wider instructions than these.
    #[arg(long, value_parser = widest)]
    instructions: Option<Widest>,
    /// Also time the step's matrix products alone.
    #[arg(long)]
    floor: bool,
    /// A model folder to train instead of random weights.
    #[arg(long, requires = "adapter")]
    model: Option<PathBuf>,
    /// Where the adapter of that model starts, in peft's format.
    #[arg(long, requires = "model")]
    adapter: Option<PathBuf>,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// `4x128`
fn shape(text: &str) -> Result<(usize, usize), String> {
    let numbers = text
        .split_once('x')
        .and_then(|(sequences, length)| Some((sequences.parse().ok()?, length.parse().ok()?)));
    match numbers {
        Some((sequences, length)) if sequences > 0 && length > 1 => Ok((sequences, length)),
        _ => Err("write it as SEQUENCESxTOKENS, such as 4x128".into()),
    }
}

fn format(name: &str) -> Result<BlockFormat, String> {
    Ok(match name {
        "q4_0" => BlockFormat::Q4_0,
        "q4_1" => BlockFormat::Q4_1,
        "q5_0" => BlockFormat::Q5_0,
        "q5_1" => BlockFormat::Q5_1,
        "q8_0" => BlockFormat::Q8_0,
        "q4_k" => BlockFormat::Q4K,
        "q5_k" => BlockFormat::Q5K,
        "q6_k" => BlockFormat::Q6K,
        _ => return Err("write q4_0 to q8_0, or q4_k to q6_k".into()),
    })
}

fn widest(name: &str) -> Result<Widest, String> {
    match name {
        "avx2" => Ok(Widest::Avx2),
        "portable" => Ok(Widest::Portable),
        _ => Err("write avx2 or portable".into()),
    }
}

/// One measurement. Lists hold a value per step.
#[derive(Serialize)]
struct Line {
    shape: String,
    objective: &'static str,
    weights: &'static str,
    held: Option<String>,
    checkpoint_activations: bool,
    threads: usize,
    loss: Vec<f64>,
    /// Wall clock of a step.
    seconds: Vec<f64>,
    /// Of that, the reference's forward.
    reference_seconds: Vec<f64>,
    /// Time on processors, over threads: what the wall clock would be on an idle machine.
    busy_seconds: Vec<f64>,
    /// The products of the step alone, and their rate.
    floor_seconds: Option<f64>,
    floor_gflops: Option<f64>,
    /// Most memory that the process had.
    peak_mib: u64,
}

fn main() -> Outcome<()> {
    // As the program does it: candle's own pool spins beside our threads.
    // SAFETY: no other thread exists yet.
    #[expect(unsafe_code, reason = "candle reads it from the environment")]
    unsafe {
        std::env::set_var("CANDLE_NUM_THREADS", "1");
    };
    let arguments = Arguments::parse();
    if let Some(widest) = arguments.instructions {
        host_model::limit_instructions(widest);
    }
    let Some(shape) = arguments.shape else {
        return process::each(&[
            &["4x128", "--floor"],
            &["4x128", "--kl", "--floor"],
            &["8x256", "--floor"],
            &["8x256", "--kl", "--floor"],
        ]);
    };
    println!("{}", serde_json::to_string(&measure(&arguments, shape)?)?);
    Ok(())
}

fn measure(arguments: &Arguments, (sequences, length): (usize, usize)) -> Outcome<Line> {
    let (mut decoder, adapter) = match (&arguments.model, &arguments.adapter) {
        (Some(model), Some(adapter)) => model::load(model, adapter, arguments.bf16)?,
        _ => model::random(&arguments.size, arguments.bf16, arguments.held, arguments.attention)?,
    };
    decoder.recompute = arguments.checkpoint_activations;
    let batch = tokens(sequences, length, decoder.config.vocab_size);
    let mut run = Run::new(&decoder, &adapter, &batch, arguments.kl)?;
    let threads = rayon::current_num_threads();
    let mut line = Line {
        shape: format!("{sequences}x{length}"),
        objective: if arguments.kl { "sft+kl" } else { "sft" },
        weights: if arguments.bf16 { "bf16" } else { "f32" },
        held: arguments.held.map(|held| format!("{held:?}")),
        checkpoint_activations: arguments.checkpoint_activations,
        threads,
        loss: Vec::new(),
        seconds: Vec::new(),
        reference_seconds: Vec::new(),
        busy_seconds: Vec::new(),
        floor_seconds: None,
        floor_gflops: None,
        peak_mib: 0,
    };
    for step in 0..arguments.steps {
        let (started, busy) = (Instant::now(), process::busy()?);
        let (loss, reference) = run.step(step as u64)?;
        line.loss.push(loss);
        if step > 0 {
            line.seconds.push(started.elapsed().as_secs_f64());
            line.reference_seconds.push(reference);
            line.busy_seconds.push((process::busy()? - busy) / threads as f64);
        }
    }
    line.peak_mib = process::peak_mib()?;
    if arguments.floor {
        let work = floor::products(&decoder.config, &adapter, &batch, arguments.kl);
        let (seconds, operations) = floor::measure(&work);
        line.floor_seconds = Some(seconds);
        line.floor_gflops = Some(operations / seconds * 1e-9);
    }
    Ok(line)
}

/// The same ids as in tests/peft/speed.py.
fn tokens(sequences: usize, length: usize, vocabulary: usize) -> Packed {
    let id = |s: usize, t: usize| ((s * 7919 + t * 104_729) % vocabulary) as u32;
    let rows: Vec<Vec<u32>> =
        (0..sequences).map(|s| (0..length).map(|t| id(s, t)).collect()).collect();
    Packed::from_sequences(&rows)
}

/// A training run on one batch over and over.
struct Run<'a> {
    decoder: &'a Decoder,
    adapter: &'a Lora,
    batch: &'a Packed,
    /// Rows that predict an answer token, and those tokens.
    rows: Tensor,
    labels: Vec<u32>,
    kl: bool,
    layout: Layout,
    parameters: Vec<f32>,
    optimizer: AdamW,
    config: TrainConfig,
}

impl<'a> Run<'a> {
    fn new(decoder: &'a Decoder, adapter: &'a Lora, batch: &'a Packed, kl: bool) -> Outcome<Self> {
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for sequence in batch.sequences() {
            let answer = sequence.start + sequence.len() / 2;
            rows.extend((answer - 1..sequence.end - 1).map(|row| row as u32));
            labels.extend_from_slice(&batch.tokens[answer..sequence.end]);
        }
        let layout = Layout::new(adapter);
        let config = TrainConfig::default();
        Ok(Self {
            decoder,
            adapter,
            batch,
            rows: Tensor::new(rows, &Device::Cpu)?,
            labels,
            kl,
            parameters: layout.read()?,
            optimizer: AdamW::new(config.adamw(), layout.len()),
            layout,
            config,
        })
    }

    /// Mean cross-entropy, plus the mean KL to the reference, over the answer tokens;
    /// gives it with the seconds that the reference's forward took.
    fn step(&mut self, step: u64) -> Outcome<(f64, f64)> {
        let answers = |hidden: Tensor| hidden.index_select(&self.rows, 0);
        let started = Instant::now();
        let reference = if self.kl {
            Some(answers(self.decoder.forward(self.batch, None, &[])?.hidden)?)
        } else {
            None
        };
        let seconds = started.elapsed().as_secs_f64();
        let forward = self.decoder.forward(self.batch, Some(self.adapter), &[])?;
        let weights = vec![1.0 / self.labels.len() as f32; self.labels.len()];
        let head = self.decoder.head_loss(HeadRows {
            hidden: &answers(forward.hidden)?,
            reference: reference.as_ref(),
            labels: &self.labels,
            task_weights: &weights,
            kl_weights: &weights,
            subset: None,
        })?;
        let mut gradient = vec![0f32; self.layout.len()];
        self.layout.accumulate(&head.loss.backward()?, &mut gradient, step)?;
        let clip = (self.config.gradient_clip / norm(&gradient)).min(1.0) as f32;
        gradient.iter_mut().for_each(|value| *value *= clip);
        self.optimizer.step(&mut self.parameters, &gradient, self.config.learning_rate);
        self.layout.write(&self.parameters)?;
        Ok((f64::from(head.loss.to_scalar::<f32>()?), seconds))
    }
}
