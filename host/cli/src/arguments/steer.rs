//! `host steer`: vectors that are added to the residual stream.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{AdapterArguments, ConfigArguments, EvalSetArguments};

#[derive(Debug, Subcommand)]
pub enum SteerCommand {
    /// Fit a vector on a model's activations at the last prompt token.
    Fit(Box<SteerFitArguments>),
    /// Measure what a vector does to refusals: margin, attack success, over-refusal.
    Eval(Box<SteerEvalArguments>),
}

/// What a vector is the difference of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VectorKind {
    /// Mean activation of --positive minus that of --negative.
    Difference,
    /// Mean change when the safety instruction is added to --prompts.
    SafetyInstruction,
    /// Mean activation of harmful prompts minus that of harmless ones, of --labelled.
    RefusalDirection,
}

#[derive(Debug, Args)]
pub struct SteerFitArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// What the vector is the difference of.
    #[arg(long, value_enum, default_value_t = VectorKind::Difference)]
    pub kind: VectorKind,
    /// Prompts that show what to steer towards. Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub positive: Vec<PathBuf>,
    /// Prompts that show what to steer away from. Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub negative: Vec<PathBuf>,
    /// Prompts to add the safety instruction to; default: the labelled ones.
    #[arg(long, value_name = "FILE")]
    pub prompts: Vec<PathBuf>,
    /// The safety instruction.
    #[arg(long, value_name = "TEXT")]
    pub instruction: Option<String>,
    /// Labelled prompts (rows of prompt and label 1 or 0) for the refusal direction, which
    /// every vector is compared with if they are there.
    #[arg(long, value_name = "FILE")]
    pub labelled: Vec<PathBuf>,
    /// Layers to fit it at: 0 the embeddings, N the output of block N. Default: all blocks.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub layers: Vec<u32>,
    /// Where to write the vector.
    #[arg(short, long, value_name = "FILE", default_value = "vector.safetensors")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub struct SteerEvalArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub adapter: AdapterArguments,
    #[command(flatten)]
    pub eval: EvalSetArguments,
    /// Steering vector, made by `host steer fit` or left by a run.
    #[arg(long, value_name = "FILE")]
    pub vector: Option<PathBuf>,
    /// How much of it is added at every position. Can be repeated.
    #[arg(long = "coefficient", value_name = "C", allow_negative_numbers = true)]
    pub coefficients: Vec<f64>,
    /// Remove the part along the refusal direction first (needs --labelled).
    #[arg(long)]
    pub project: bool,
    /// Labelled prompts for the refusal direction, which the vector is compared with.
    #[arg(long, value_name = "FILE")]
    pub labelled: Vec<PathBuf>,
    /// Held-out harmful prompts for the refusal margin.
    #[arg(long, value_name = "FILE")]
    pub canary: Vec<PathBuf>,
    /// Layers of the vector to steer at. Default: all it has.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub layers: Vec<u32>,
    /// Also write every answer, as JSON Lines.
    #[arg(long, value_name = "FILE")]
    pub generations: Option<PathBuf>,
}
