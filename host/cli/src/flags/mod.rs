//! Every flag that sets a key of the configuration, in groups that commands share.

mod headings;
mod run;
mod several;
mod steer;
mod table;
mod track;

use std::path::{Path, PathBuf};

use host_trainer::Error;
use host_trainer::config::{Layers, OnFault};

pub use headings::grouped;
pub use run::{RunFlags, with_defaults};
pub use steer::{EffectFlags, FitFlags};
pub use table::FlagGroup;
pub use track::TrackFlags;

use several::{on_fault, set_calibrations, set_no_baseline, set_on_fault, set_policies};
use table::{Flag, flags, key, set};

flags! {
    /// Where a configuration comes from: file, then --set, then the flags.
    pub struct ConfigFlags {
        /// TOML file with the configuration; `host config example` prints one with every key.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Override a key of the configuration, such as train.batch=4. Can be repeated.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        assignments: Vec<String>,
        /// Model: a Hugging Face folder, a .gguf file, or a Hub id (org/name or
        /// org/name@revision). Default: the small demo model inside this program.
        #[arg(short, long, value_name = "MODEL")]
        model: Option<String> => [model.source],
        /// Adapter in peft's format that is merged into the model: then it is part of the
        /// reference, and of what an adapter on top is compared with.
        #[arg(long, value_name = "DIR")]
        model_adapter: Option<PathBuf> => [model.adapter],
        /// Jinja file that replaces the model's own chat template.
        #[arg(long, value_name = "FILE")]
        chat_template: Option<PathBuf> => [model.chat_template],
        /// cpu, cuda or cuda:N.
        #[arg(long, value_name = "DEVICE")]
        device: Option<String> => [model.device],
        /// Number format that the model computes in: f32, bf16 (half the memory, less exact), or bf16x3
        /// (f32 in three products of bf16 on processors with AMX, f32 on others).
        #[arg(long, value_name = "f32|bf16|bf16x3")]
        precision: Option<String> => [model.dtype],
        /// How the frozen matrices are held: dense (in --precision), stored (as a quantized .gguf file
        /// has them: the same results from less memory), or rounded to q8_0, q6_k, q5_k or q4_k.
        #[arg(long, value_name = "FORMAT")]
        weights: Option<String> => [model.weights],
        /// Endpoint that a file names as a judge, with the variable and the files that it gets:
        /// needed for all that isn't set by --set, but for servers on this machine. What is
        /// refused without it says how it is written. Can be repeated.
        #[arg(long = "allow-endpoint", value_name = "ENDPOINT")]
        allowed_endpoints: Vec<String>,
        /// Seed of all randomness.
        #[arg(long, value_name = "N")]
        seed: Option<u64> => [seed],
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
        /// Print no progress.
        #[arg(short, long)]
        quiet: bool,
    }
}

flags! {
    pub struct PolicyFlags {
        /// Policy: a WebAssembly component that exports risk:policy 0.1 or 0.2, builtin:NAME
        /// (host policy list), or oci://REGISTRY/NAME:TAG. With several, each assesses every step and the most restrictive
        /// answer wins, field by field.
        #[arg(short, long = "policy", value_name = "FILE")]
        policies: Vec<PathBuf> => [policy.path, by set_policies],
        /// Labelled prompts for policies that calibrate themselves (rows of prompt and
        /// label 1 or 0). Can be repeated.
        #[arg(long, value_name = "FILE")]
        labelled: Vec<PathBuf> => [calibration.data],
    }
}

flags! {
    /// How data files are read.
    pub struct DataFlags {
        /// What to do with a row that can't be used: error, or skip (leave it out and count it,
        /// up to data.bad_row_limit of a file).
        #[arg(long, value_name = "error|skip")]
        on_bad_row: Option<String> => [data.on_bad_row],
    }
}

flags! {
    /// What an evaluation asks. Files can be repeated.
    pub struct EvalFlags {
        /// Harmful prompts: how many are refused?
        #[arg(long, value_name = "FILE")]
        harmful: Vec<PathBuf> => [eval.harmful],
        /// Harmless prompts: how many are refused?
        #[arg(long, value_name = "FILE")]
        harmless: Vec<PathBuf> => [eval.harmless],
        /// Prompts with answers: how many are answered exactly, and with what loss?
        #[arg(long, value_name = "FILE")]
        task: Vec<PathBuf> => [eval.task],
        /// Judge of the configuration that reads every answer to a harmful prompt. Can be
        /// repeated.
        #[arg(long = "judge", value_name = "NAME")]
        judges: Vec<String> => [eval.judges],
        /// At most this many prompts of each kind; 0 takes all.
        #[arg(long, value_name = "N")]
        eval_limit: Option<usize> => [eval.limit],
        /// Longest generated answer, in tokens.
        #[arg(long, value_name = "N")]
        max_new_tokens: Option<usize> => [eval.max_new_tokens],
        /// Longest thought of a model that thinks before it answers, in tokens.
        #[arg(long, value_name = "N")]
        max_thinking_tokens: Option<usize> => [eval.max_thinking_tokens],
    }
}

flags! {
    pub struct TrainFlags {
        /// Calibration made by `host calibrate`, instead of calibrating now: the first one
        /// is for the first policy, and so on.
        #[arg(long = "calibration", value_name = "FILE")]
        calibrations: Vec<PathBuf> => [policy.calibration, by set_calibrations],
        /// What to do when a policy fails at a step: stop before the update, or strict,
        /// which holds that step to the reference, at most N times in a row (3).
        #[arg(long, value_name = "stop|strict[=N]", value_parser = on_fault)]
        on_fault: Option<OnFault> => [trust.on_fault, by set_on_fault],
        /// Record the policies' arguments in full, or as digests only (light).
        #[arg(long, value_name = "full|light")]
        journal: Option<String> => [journal.mode],
        /// Secret key that signs the run's journal. Default: your own, made on first use.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf> => [journal.key, on resume],
        /// Refuse policies without a valid signature by this key: a public key file of
        /// minisign or, for policies of registries, of cosign, or the key itself.
        #[arg(long, value_name = "KEY")]
        require_signature: Option<String> => [trust.require_signature],
        /// Training data: JSON Lines, JSON, CSV, TSV or Parquet, or a data set of the Hub (org/name,
        /// org/name@revision:split). Can be repeated.
        #[arg(short, long, value_name = "FILE")]
        data: Vec<PathBuf> => [data.train],
        /// Alignment data, beside the training data: for policies that mix the two, or compare
        /// them. Can be repeated.
        #[arg(long, value_name = "FILE")]
        alignment: Vec<PathBuf> => [data.alignment],
        /// Part of the training rows that is held out to measure the loss on them during
        /// training: a share below 1, or a number of rows.
        #[arg(long, value_name = "SHARE|N")]
        validation: Option<f64> => [data.validation],
        /// Folder for the run; must not exist. Default: runs/POLICY-N.
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf> => [output],
        /// Go on with the run in this folder, from its newest checkpoint. Its configuration
        /// stays what it was, but for --checkpoint-activations, --data-memory and --checkpoint-every; a --key is
        /// named again.
        #[arg(long, value_name = "DIR", conflicts_with_all = refused_on_resume())]
        resume: Option<PathBuf>,
        /// Also write a checkpoint after every N optimizer steps; by default one is written
        /// every ten minutes, at the end, and at Ctrl-C.
        #[arg(long, value_name = "N")]
        checkpoint_every: Option<u64> => [checkpoints.every_steps, on resume],
        /// Passes over the data.
        #[arg(long, value_name = "N")]
        epochs: Option<f64> => [train.epochs],
        /// Most optimizer steps.
        #[arg(long, value_name = "N")]
        steps: Option<u64> => [train.max_steps],
        /// Samples of one optimizer step.
        #[arg(long, value_name = "N")]
        batch: Option<usize> => [train.batch],
        /// Samples that go through the model at once; smaller needs less memory.
        #[arg(long, value_name = "N")]
        micro_batch: Option<usize> => [train.micro_batch],
        /// Compute activations again in the backward pass instead of keeping them: a tenth
        /// of the memory per token, slower steps, the same result.
        #[arg(long)]
        checkpoint_activations: bool => [train.checkpoint_activations, on resume],
        /// Memory for training rows; the others are kept in a temporary file.
        #[arg(long, value_name = "MIB")]
        data_memory: Option<u64> => [data.memory_mib, on resume],
        /// Highest learning rate.
        #[arg(long = "lr", value_name = "X")]
        learning_rate: Option<f64> => [train.learning_rate],
        /// LoRA rank.
        #[arg(long, value_name = "N")]
        rank: Option<usize> => [lora.rank],
        /// LoRA alpha; the update is scaled by alpha / rank.
        #[arg(long, value_name = "X")]
        alpha: Option<f64> => [lora.alpha],
        /// Modules to adapt: names or ends of names, separated by commas (q_proj,v_proj).
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        targets: Vec<String> => [lora.targets],
        /// Layers to adapt, from 0, separated by commas.
        #[arg(long, value_name = "N", value_delimiter = ',')]
        layers: Vec<usize> => [lora.layers],
        /// Scale the update by alpha / sqrt(rank) instead (rsLoRA).
        #[arg(long)]
        rslora: bool => [lora.rank_stabilized],
        /// Train a length for every row of an adapted weight as well (DoRA).
        #[arg(long)]
        dora: bool => [lora.dora],
        /// Start at singular values of the weights (pissa) instead of zero (kaiming).
        #[arg(long, value_name = "START", value_parser = ["kaiming", "pissa"])]
        init: Option<String> => [lora.init],
        /// Chance that a value which the adapter takes is dropped in a training pass.
        #[arg(long, value_name = "P")]
        dropout: Option<f64> => [lora.dropout],
        /// Noise on embeddings while rows are trained (NEFTune), for example 5.
        #[arg(long, value_name = "ALPHA")]
        neftune: Option<f64> => [train.neftune_alpha],
        /// Go on training this adapter (a folder in peft's format) instead of a fresh one. The
        /// reference is the model without it; --model-adapter takes one into the reference.
        #[arg(long, value_name = "DIR")]
        start: Option<PathBuf> => [lora.start],
        /// Evaluate the model after every N optimizer steps, on a few rows and prompts.
        #[arg(long, value_name = "N")]
        eval_every: Option<u64> => [eval.during.every],
        /// Which adapter becomes that of the run: of the last step, or of the best evaluation
        /// (--eval-every).
        #[arg(long, value_name = "last|best")]
        keep: Option<String> => [train.keep],
        /// Which evaluation is the best: loss, refusal, margin, or safe-loss, the lowest loss that
        /// costs no refusals.
        #[arg(long, value_name = "RULE")]
        best: Option<String> => [train.best],
        /// End the training after N evaluations in a row that are no improvement.
        #[arg(long, value_name = "N")]
        patience: Option<u64> => [train.patience],
        /// Also train without the policy and show both (default on the demo data).
        #[arg(long, overrides_with = "no_baseline")]
        baseline: bool => [train.baseline],
        /// Don't train without the policy for comparison.
        #[arg(long)]
        no_baseline: bool => [train.baseline, by set_no_baseline],
    }
}

flags! {
    /// What an adapter names as its base.
    pub struct BaseFlags {
        /// Under which name others find the model, for adapters to name it as their base: a
        /// Hub id, or a Hugging Face folder. Default: the id of a model from the Hub.
        #[arg(long, value_name = "ORG/NAME")]
        base_name: Option<String> => [model.base_name],
    }
}

impl ConfigFlags {
    /// The user's configuration, on top of that of `run` if one is named, without the
    /// embedded defaults.
    pub fn layers(&self, run: Option<&Path>) -> Result<Layers, Error> {
        let mut layers = Layers::default();
        if let Some(run) = run {
            layers.add_run(run)?;
        }
        if let Some(path) = &self.config {
            layers.add_file(path)?;
        }
        for assignment in &self.assignments {
            layers.add_assignment(assignment)?;
        }
        self.apply(&mut layers)?;
        layers.allow_endpoints(&self.allowed_endpoints);
        Ok(layers)
    }
}

/// Configuration keys that have a flag, each with the flag as it is typed.
pub fn keys() -> impl Iterator<Item = (&'static str, String)> {
    let groups = [
        keys_of::<ConfigFlags>(),
        keys_of::<PolicyFlags>(),
        keys_of::<DataFlags>(),
        keys_of::<EvalFlags>(),
        keys_of::<TrainFlags>(),
        keys_of::<TrackFlags>(),
        keys_of::<BaseFlags>(),
        keys_of::<FitFlags>(),
        keys_of::<EffectFlags>(),
    ];
    groups.into_iter().flatten()
}

fn keys_of<G: FlagGroup>() -> Vec<(&'static str, String)> {
    let command = G::augment_args(clap::Command::new("host"));
    let keys = G::FLAGS.iter().filter_map(|flag| {
        let long = command.get_arguments().find(|one| one.get_id() == flag.id)?.get_long()?;
        Some((flag.key?, format!("--{long}")))
    });
    keys.collect()
}

/// Flags of `host train` that --resume refuses: all without `on resume`.
fn refused_on_resume() -> Vec<&'static str> {
    let groups = [
        ConfigFlags::FLAGS,
        PolicyFlags::FLAGS,
        DataFlags::FLAGS,
        EvalFlags::FLAGS,
        TrainFlags::FLAGS,
        TrackFlags::FLAGS,
        BaseFlags::FLAGS,
    ]
    .concat();
    let refused = groups.iter().filter(|flag| !flag.on_resume).map(|flag| flag.id);
    refused.filter(|id| !["json", "quiet", "resume", "allowed_endpoints"].contains(id)).collect()
}

#[cfg(test)]
mod tests;
