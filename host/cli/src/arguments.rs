//! The command line as it is typed; `resolve` turns it into a configuration.

mod audit;
mod compare;
mod judge;
mod policy;
mod resolve;
mod steer;
mod subject;

pub use audit::AuditArguments;
pub use compare::CompareArguments;
pub use judge::{FitArguments, JudgeCommand, ScoreArguments};
pub use policy::{
    BenchArguments, BuildArguments, InspectArguments, NewArguments, PolicyCommand, RunArguments,
    SignArguments, TestArguments, VerifyArguments,
};
pub use resolve::with_defaults;
pub use steer::{SteerCommand, SteerEvalArguments, SteerFitArguments, VectorKind};
pub use subject::SubjectArguments;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use host_trainer::config::OnFault;

#[derive(Debug, Parser)]
#[command(name = "host", version, about, max_term_width = 100)]
pub struct Cli {
    /// Show more of what happens (-v: information, -vv: details).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fine-tune a model with LoRA, under a policy or without one.
    Train(Box<TrainArguments>),
    /// Fit a policy to a model on labelled prompts, and print what it tried.
    Calibrate(Box<CalibrateArguments>),
    /// Measure refusals, over-refusals and the task, before and after an adapter.
    Eval(Box<EvalArguments>),
    /// Put the reports of several runs into one table, over the seeds of each method.
    Compare(CompareArguments),
    /// Answer prompts with a model and, if given, an adapter.
    Generate(Box<GenerateArguments>),
    /// Fit steering vectors, and measure what they do to refusals.
    #[command(subcommand)]
    Steer(SteerCommand),
    /// Check a policy before it is trusted, or the journal of a run after it ended.
    Audit(Box<AuditArguments>),
    /// Write, build, test, measure, look into and sign policies.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Score rows with a judge of harm, and fit one.
    #[command(subcommand)]
    Judge(JudgeCommand),
    /// Write an adapter, or the model with the adapter merged into it.
    Export(Box<ExportArguments>),
}

/// Where a configuration comes from: file, then --set, then the flags.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// TOML file with the configuration; see examples/config.toml for every key.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override a key of the configuration, such as train.batch=4. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Model: a Hugging Face folder, a .gguf file, or a Hub id (org/name or
    /// org/name@revision). Default: the small demo model inside this program.
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Jinja file that replaces the model's own chat template.
    #[arg(long, value_name = "FILE")]
    pub chat_template: Option<PathBuf>,
    /// cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Number format of the frozen weights: f32, or bf16 (half the memory, less exact).
    #[arg(long = "weights", value_name = "f32|bf16")]
    pub weight_type: Option<String>,
    /// Seed of all randomness.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Print no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct PolicyArguments {
    /// Policy: a WebAssembly component that exports risk:policy@0.1.0. With several,
    /// each assesses every step and the strictest wins, field by field.
    #[arg(short, long = "policy", value_name = "FILE")]
    pub policies: Vec<PathBuf>,
    /// Labelled prompts for policies that calibrate themselves (rows of prompt and
    /// label 1 or 0). Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub labelled: Vec<PathBuf>,
}

/// What an evaluation asks. Files can be repeated.
#[derive(Debug, Args)]
pub struct EvalSetArguments {
    /// Harmful prompts: how many are refused?
    #[arg(long, value_name = "FILE")]
    pub harmful: Vec<PathBuf>,
    /// Harmless prompts: how many are refused?
    #[arg(long, value_name = "FILE")]
    pub harmless: Vec<PathBuf>,
    /// Prompts with answers: how many are answered exactly, and with what loss?
    #[arg(long, value_name = "FILE")]
    pub task: Vec<PathBuf>,
    /// Judge of the configuration that reads every answer to a harmful prompt. Can be
    /// repeated.
    #[arg(long = "judge", value_name = "NAME")]
    pub judges: Vec<String>,
    /// At most this many prompts of each kind; 0 takes all.
    #[arg(long, value_name = "N")]
    pub eval_limit: Option<usize>,
    /// Longest generated answer, in tokens.
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
}

#[derive(Debug, Args)]
pub struct TrainArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub policy: PolicyArguments,
    #[command(flatten)]
    pub eval: EvalSetArguments,
    /// Calibration made by `host calibrate`, instead of calibrating now: the first one
    /// is for the first policy, and so on.
    #[arg(long = "calibration", value_name = "FILE")]
    pub calibrations: Vec<PathBuf>,
    /// What to do when a policy fails at a step: stop before the update, or strict,
    /// which holds that step to the reference, at most N times in a row (3).
    #[arg(long, value_name = "stop|strict[=N]", value_parser = resolve::on_fault)]
    pub on_fault: Option<OnFault>,
    /// Record the policies' arguments in full, or as digests only (light).
    #[arg(long, value_name = "full|light")]
    pub journal: Option<String>,
    /// Secret key that signs the run's journal. Default: your own, made on first use.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Refuse policies without a valid signature by this key: a public key file, or the
    /// key itself.
    #[arg(long, value_name = "KEY")]
    pub require_signature: Option<String>,
    /// Training data: JSON Lines, JSON or Parquet. Can be repeated.
    #[arg(short, long, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Alignment data, beside the training data: for policies that mix the two, or compare
    /// them. Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub alignment: Vec<PathBuf>,
    /// Folder for the run; must not exist. Default: runs/POLICY-N.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Go on with the run in this folder, from its newest checkpoint. Its configuration
    /// stays what it was.
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "config", "assignments", "model", "chat_template", "device", "weight_type", "seed",
        "policies", "labelled", "harmful", "harmless", "task", "judges", "eval_limit",
        "max_new_tokens", "calibrations", "on_fault", "journal", "key", "require_signature",
        "data", "alignment", "output",
        "checkpoint_every", "epochs", "steps", "batch", "micro_batch", "learning_rate", "rank",
        "alpha", "baseline", "no_baseline", "dry_run",
    ])]
    pub resume: Option<PathBuf>,
    /// Also write a checkpoint after every N optimizer steps; by default one is written
    /// every ten minutes, at the end, and at Ctrl-C.
    #[arg(long, value_name = "N")]
    pub checkpoint_every: Option<u64>,
    /// Passes over the data.
    #[arg(long, value_name = "N")]
    pub epochs: Option<f64>,
    /// Most optimizer steps.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Samples of one optimizer step.
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Samples that go through the model at once; smaller needs less memory.
    #[arg(long, value_name = "N")]
    pub micro_batch: Option<usize>,
    /// Compute activations again in the backward pass instead of keeping them: a tenth
    /// of the memory per token, slower steps, the same result.
    #[arg(long)]
    pub checkpoint_activations: bool,
    /// Highest learning rate.
    #[arg(long = "lr", value_name = "X")]
    pub learning_rate: Option<f64>,
    /// LoRA rank.
    #[arg(long, value_name = "N")]
    pub rank: Option<usize>,
    /// LoRA alpha; the update is scaled by alpha / rank.
    #[arg(long, value_name = "X")]
    pub alpha: Option<f64>,
    /// Also train without the policy and show both (default on the demo data).
    #[arg(long, overrides_with = "no_baseline")]
    pub baseline: bool,
    /// Don't train without the policy for comparison.
    #[arg(long)]
    pub no_baseline: bool,
    /// Load and check everything, print how much memory and time the training would take,
    /// and stop there. Writes no run folder.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct CalibrateArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub policy: PolicyArguments,
    /// Where to write the calibration.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Which adapter to use.
#[derive(Debug, Args)]
pub struct AdapterArguments {
    /// Folder of a run: takes its configuration and its adapter.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Folder with an adapter in peft's format.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct EvalArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub adapter: AdapterArguments,
    #[command(flatten)]
    pub eval: EvalSetArguments,
    /// Also write every answer, as JSON Lines.
    #[arg(long, value_name = "FILE")]
    pub generations: Option<PathBuf>,
    /// Compute the metrics of answers again, without the model: the generations.jsonl of
    /// a run, perhaps with what another tool's judge says in each line's `judges`.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "model", "chat_template", "device", "weight_type", "adapter", "harmful", "harmless",
        "task", "eval_limit", "max_new_tokens",
    ])]
    pub rescore: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct GenerateArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub adapter: AdapterArguments,
    /// Prompt; can be repeated. Without one, each line of stdin is a prompt.
    pub prompts: Vec<String>,
    /// Steering vector, made by `host steer fit` or left by a run.
    #[arg(long, value_name = "FILE")]
    pub vector: Option<PathBuf>,
    /// How much of the vector is added at every position.
    #[arg(long, value_name = "C", requires = "vector", allow_negative_numbers = true)]
    pub coefficient: Option<f64>,
    /// System message.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Longest answer, in tokens.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub max_new_tokens: usize,
    /// 0 always takes the likeliest token.
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub temperature: f64,
    /// Sample among the likeliest tokens that together have this probability.
    #[arg(long, value_name = "X")]
    pub top_p: Option<f64>,
    /// Sample among this many likeliest tokens.
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
}

/// Number formats that a merged model can be written in.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum WeightType {
    F32,
    F16,
    Bf16,
}

#[derive(Debug, Args)]
pub struct ExportArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub adapter: AdapterArguments,
    /// Merge the adapter into the weights and write a whole model.
    #[arg(long)]
    pub merged: bool,
    /// Number format of the merged weights.
    #[arg(long, value_enum, default_value_t = WeightType::F32, requires = "merged")]
    pub dtype: WeightType,
    /// Folder to write; must not exist.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}
