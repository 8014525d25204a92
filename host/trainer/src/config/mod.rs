//! The configuration of a run: one TOML file, overridden by `--set` and flags.
//!
//! Every key has a default except the ones that name files, so an empty file is a
//! valid configuration: it trains the embedded demo model on the embedded data.
//! Paths are relative to the current directory.

mod anchors;
mod check;
mod consent;
mod layers;
mod lora;
mod neighbours;
mod noise;
mod pin;
mod policies;
mod run_folder;
mod schema;
mod selection;
mod steering;
mod trust;

use std::collections::BTreeMap;
use std::path::PathBuf;

use host_data::{DataSource, OneOrMany, one_or_many};
use host_eval::selection::BestRule;
use host_model::decoder::NoiseLevels;
use host_sandbox::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::parameters::optimizer::AdamWConfig;

pub use anchors::AnchorsConfig;
pub use host_data::{DataConfig, ModelConfig, WeightType};
pub use host_eval::config::{CanaryConfig, DuringConfig, EvalConfig};
pub use host_judges::{
    Asks, ClassifierConfig, Consent, EmbeddingConfig, EndpointConfig, GuardConfig, JudgeConfig,
    Reads,
};
pub use host_trackers::{TensorBoardConfig, TrackersConfig};
pub use layers::Layers;
pub use lora::LoraSection;
pub use noise::TrainingNoise;
pub use run_folder::{CONFIG, check_run};
pub use schema::property;
pub use selection::Keep;
pub use steering::SteeringConfig;
pub use trust::{JournalConfig, OnFault, TrustConfig};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Seed of all randomness.
    pub seed: Seed,
    /// Folder of the run; must not exist. Default: runs/POLICY-N.
    pub output: Option<PathBuf>,
    /// The model that is fine-tuned.
    pub model: ModelConfig,
    /// The training data.
    pub data: DataConfig,
    /// Rank, scale and place of the adapter.
    pub lora: LoraSection,
    /// Batches, optimizer and caches.
    pub train: TrainConfig,
    /// `[policy]` for one, `[[policy]]` for several; the most restrictive answer
    /// wins.
    #[serde(rename = "policy", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<PolicyConfig>")]
    pub policies: Vec<PolicyConfig>,
    /// What happens when a policy or a judge fails, and whose policies are accepted.
    pub trust: TrustConfig,
    /// What is recorded of the policies' arguments and answers.
    pub journal: JournalConfig,
    /// How often a run saves all that it needs to go on.
    pub checkpoints: CheckpointConfig,
    /// What is told of the run to trackers of experiments, while it goes on.
    #[serde(skip_serializing_if = "TrackersConfig::is_default")]
    pub trackers: TrackersConfig,
    /// Labelled prompts for policies that calibrate themselves.
    pub calibration: CalibrationConfig,
    /// Held-out harmful prompts on which refusals are measured during training.
    pub canary: CanaryConfig,
    /// Prompts beside the batch on which policies hold the model to the reference.
    pub anchors: AnchorsConfig,
    /// Vectors that are added to the residual stream at every position, h_l += c v_l.
    pub steering: SteeringConfig,
    /// Judges by name.
    pub judges: BTreeMap<String, JudgeConfig>,
    /// The evaluation before and after training.
    pub eval: EvalConfig,
    /// What a policy may use up; no policy can change these.
    pub limits: Limits,
}

/// The one number all randomness of a run comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl RunConfig {
    /// Reads the data files as the configuration says.
    pub fn reader(&self) -> host_data::Reader {
        host_data::Reader::new(self.seed.0, self.data.bad_rows())
    }

    /// The noise of its training passes.
    pub fn noise(&self) -> TrainingNoise {
        let levels =
            NoiseLevels { dropout: self.lora.dropout, embedding: self.train.neftune_alpha };
        TrainingNoise { levels, seed: self.seed.0 }
    }

    /// What a person should know who named a model and no data: whose data are used.
    pub fn demo_data(&self) -> Option<String> {
        self.model.source.as_ref()?;
        let any = |sources: &[DataSource]| {
            sources.iter().any(|source| host_data::demo::file(&source.path).is_some())
        };
        let keys = [
            ("data.train", any(&self.data.sources())),
            ("eval.harmful", any(&self.eval.harmful)),
            ("eval.harmless", any(&self.eval.harmless)),
            ("eval.task", any(&self.eval.task)),
            ("canary.prompts", any(&self.canary.prompts)),
        ];
        let keys: Vec<&str> = keys.iter().filter(|(_, demo)| *demo).map(|(key, _)| *key).collect();
        (!keys.is_empty()).then(|| {
            format!(
                "the embedded demo data stand in for files of your own in {}; name yours with --data, \
                 --harmful, --harmless and --task FILE",
                keys.join(", ")
            )
        })
    }

    /// The JSON Schema of a configuration file.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Self)
    }
}

impl Default for Seed {
    fn default() -> Self {
        Self(17)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the data.
    pub epochs: f64,
    /// Ends the run after this many optimizer steps, whatever `epochs` says.
    pub max_steps: Option<u64>,
    /// Samples of one optimizer step.
    pub batch: usize,
    /// Samples of one forward; smaller needs less memory. Default: the batch.
    pub micro_batch: Option<usize>,
    /// What counts alike in the mean of a step's loss: answer tokens, or samples however long
    /// their answers are.
    pub loss: LossMean,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Share of the steps spent in linear warm-up.
    pub warmup: f64,
    /// The last learning rate as a share of the peak.
    pub floor: f64,
    /// AdamW: decay of the first moment.
    pub beta1: f64,
    /// AdamW: decay of the second moment.
    pub beta2: f64,
    /// AdamW: added to the square root of the second moment.
    pub epsilon: f64,
    /// AdamW: decoupled weight decay.
    pub weight_decay: f64,
    /// Largest L2 norm of the gradient; 0 switches clipping off.
    pub gradient_clip: f64,
    /// NEFTune (arXiv 2310.05914): embeddings of a row of L tokens get noise that is uniform in
    /// +- alpha / sqrt(L * hidden) while it is trained; 0 switches it off.
    pub neftune_alpha: f64,
    /// Which adapter becomes that of the run: of the last step, or of the best evaluation during
    /// training; then the last one lies in adapter-last/.
    pub keep: Keep,
    /// Which evaluation is the best. Default: safe-loss, or what can be measured of it.
    pub best: Option<BestRule>,
    /// Of safe-loss: how much smaller than the reference's the share of harmful prompts that are
    /// refused may be.
    pub best_tolerance: f64,
    /// So many evaluations in a row that are no improvement end the training.
    pub patience: Option<u64>,
    /// Also train without the policy, from the same seed, and compare.
    /// Default: only on the embedded demo.
    pub baseline: Option<bool>,
    /// Memory for cached hidden states of the reference, in MiB; 0 switches it off.
    pub reference_cache_mib: usize,
    /// Disk for them, in MiB, shared by all runs; 0 switches it off.
    pub reference_cache_disk_mib: u64,
    /// Where on disk. Default: in the user's cache folder.
    pub reference_cache_dir: Option<PathBuf>,
    /// Keep only each block's input for the backward pass and compute the rest again:
    /// a tenth of the memory per token, for a slower step with the same result.
    pub checkpoint_activations: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 1.0,
            max_steps: None,
            batch: 8,
            micro_batch: None,
            loss: LossMean::Tokens,
            learning_rate: 2e-4,
            warmup: 0.05,
            floor: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            gradient_clip: 1.0,
            neftune_alpha: 0.0,
            keep: Keep::Last,
            best: None,
            best_tolerance: 0.05,
            patience: None,
            baseline: None,
            reference_cache_mib: 1024,
            reference_cache_disk_mib: 4096,
            reference_cache_dir: None,
            checkpoint_activations: false,
        }
    }
}

/// What counts alike in the mean of a step's loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossMean {
    /// Answer tokens of the step.
    #[default]
    Tokens,
    /// Samples of the step.
    Samples,
}

impl TrainConfig {
    pub fn micro_batch(&self) -> usize {
        self.micro_batch.unwrap_or(self.batch).min(self.batch)
    }

    pub fn adamw(&self) -> AdamWConfig {
        AdamWConfig {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
        }
    }
}

/// How often a run saves all that it needs to go on. One is also written at its end,
/// at Ctrl-C, and after a step that could not be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// After so many optimizer steps.
    pub every_steps: Option<u64>,
    /// After so many minutes; 0 switches it off.
    pub every_minutes: f64,
    /// How many to keep, the newest first.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every_steps: None, every_minutes: 10.0, keep: 2 }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// The component file, `builtin:NAME` for one that comes with the program, or
    /// `oci://REGISTRY/NAME:TAG` for one of a registry; a run's own configuration has its digest.
    pub path: PathBuf,
    /// If given, the file must have this digest (64 hex digits).
    pub sha256: Option<String>,
    /// Handed to the policy as JSON; its schema is the policy's own.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub settings: toml::Table,
    /// Written by `host calibrate`; saves calibrating again.
    pub calibration: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationConfig {
    /// Prompts with a label (1 harmful, 0 harmless) and optionally a split.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub data: Vec<DataSource>,
    /// Labelled prompts to choose on. Absent: a fifth of `data`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub validation: Vec<DataSource>,
    /// Labelled prompts to report on. Absent: a fifth of `data`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub test: Vec<DataSource>,
}

#[cfg(test)]
mod judges_tests;
