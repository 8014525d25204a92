//! Resolves arguments once: embedded defaults, then the file, then --set and flags.

use std::path::{Path, PathBuf};

use host_trainer::config::{Layers, OnFault, RunConfig};
use host_trainer::run_dir::RunDir;
use host_trainer::{Error, demo};

use super::{
    AdapterArguments, ConfigArguments, EvalSetArguments, PolicyArguments, SteerEvalArguments,
    SteerFitArguments, TrainArguments,
};

type Result<T> = std::result::Result<T, Error>;

impl ConfigArguments {
    /// What the user said, without the embedded defaults.
    pub fn layers(&self, adapter: Option<&AdapterArguments>) -> Result<Layers> {
        let mut layers = Layers::default();
        if let Some(run) = adapter.and_then(|adapter| adapter.run.as_ref()) {
            layers.add_file(&run.join("config.toml"))?;
        }
        if let Some(path) = &self.config {
            layers.add_file(path)?;
        }
        for assignment in &self.assignments {
            layers.add_assignment(assignment)?;
        }
        set(&mut layers, "model.source", self.model.clone())?;
        set(&mut layers, "model.chat_template", self.chat_template.as_deref().map(text))?;
        set(&mut layers, "model.device", self.device.clone())?;
        set(&mut layers, "model.dtype", self.weight_type.clone())?;
        set(&mut layers, "seed", self.seed.map(|seed| seed as i64))?;
        Ok(layers)
    }
}

impl PolicyArguments {
    pub fn apply(&self, layers: &mut Layers) -> Result<()> {
        if !self.policies.is_empty() {
            let paths: Vec<String> = self.policies.iter().map(|path| text(path)).collect();
            layers.set_policies(&paths);
        }
        set_files(layers, "calibration.data", &self.labelled)
    }
}

impl EvalSetArguments {
    pub fn apply(&self, layers: &mut Layers) -> Result<()> {
        set_files(layers, "eval.harmful", &self.harmful)?;
        set_files(layers, "eval.harmless", &self.harmless)?;
        set_files(layers, "eval.task", &self.task)?;
        let judges = (!self.judges.is_empty()).then(|| self.judges.clone());
        set(layers, "eval.judges", judges)?;
        set(layers, "eval.limit", self.eval_limit.map(integer))?;
        set(layers, "eval.max_new_tokens", self.max_new_tokens.map(integer))
    }
}

impl SteerFitArguments {
    pub fn layers(&self) -> Result<Layers> {
        let mut layers = self.config.layers(None)?;
        set_files(&mut layers, "steering.positive", &self.positive)?;
        set_files(&mut layers, "steering.negative", &self.negative)?;
        set_files(&mut layers, "steering.prompts", &self.prompts)?;
        set_files(&mut layers, "calibration.data", &self.labelled)?;
        set_numbers(&mut layers, "steering.layers", &self.layers)?;
        set(&mut layers, "steering.instruction", self.instruction.clone())?;
        Ok(layers)
    }
}

impl SteerEvalArguments {
    pub fn layers(&self) -> Result<Layers> {
        let mut layers = self.config.layers(Some(&self.adapter))?;
        self.eval.apply(&mut layers)?;
        set_files(&mut layers, "calibration.data", &self.labelled)?;
        set_files(&mut layers, "canary.prompts", &self.canary)?;
        set_numbers(&mut layers, "steering.layers", &self.layers)?;
        set(&mut layers, "steering.vector", self.vector.as_deref().map(text))?;
        Ok(layers)
    }
}

impl TrainArguments {
    pub fn resolve(&self) -> Result<RunConfig> {
        if let Some(run) = &self.resume {
            let mut layers = Layers::default();
            layers.add_file(&RunDir::open(run)?.file("config.toml"))?;
            return layers.resolve();
        }
        let mut layers = self.config.layers(None)?;
        self.policy.apply(&mut layers)?;
        self.eval.apply(&mut layers)?;
        for (number, path) in self.calibrations.iter().enumerate() {
            layers.set(&format!("policy.{number}.calibration"), text(path))?;
        }
        if let Some(on_fault) = self.on_fault {
            let (mode, steps) = match on_fault {
                OnFault::Stop => ("stop", None),
                OnFault::Strict(steps) => ("strict", Some(steps as i64)),
            };
            layers.set("trust.on_fault", mode)?;
            set(&mut layers, "trust.strict_steps", steps)?;
        }
        set(&mut layers, "journal.mode", self.journal.clone())?;
        set(&mut layers, "journal.key", self.key.as_deref().map(text))?;
        set(&mut layers, "trust.require_signature", self.require_signature.clone())?;
        set_files(&mut layers, "data.train", &self.data)?;
        set_files(&mut layers, "data.alignment", &self.alignment)?;
        set(&mut layers, "output", self.output.as_deref().map(text))?;
        set(&mut layers, "train.epochs", self.epochs)?;
        set(&mut layers, "train.max_steps", self.steps.map(|steps| steps as i64))?;
        set(
            &mut layers,
            "checkpoints.every_steps",
            self.checkpoint_every.map(|steps| steps as i64),
        )?;
        set(&mut layers, "train.batch", self.batch.map(integer))?;
        set(&mut layers, "train.micro_batch", self.micro_batch.map(integer))?;
        set(
            &mut layers,
            "train.checkpoint_activations",
            self.checkpoint_activations.then_some(true),
        )?;
        set(&mut layers, "train.learning_rate", self.learning_rate)?;
        set(&mut layers, "lora.rank", self.rank.map(integer))?;
        set(&mut layers, "lora.alpha", self.alpha)?;
        let baseline = match (self.baseline, self.no_baseline) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        };
        set(&mut layers, "train.baseline", baseline)?;
        with_defaults(layers)
    }
}

/// Puts the embedded defaults under what the user said: the demo model where no
/// model is named, the demo data where no training data are.
pub fn with_defaults(user: Layers) -> Result<RunConfig> {
    let mut layers = Layers::default();
    if !user.has("data.train") {
        layers.add_text(demo::DATA_CONFIG, "embedded data.toml")?;
    }
    if !user.has("model.source") {
        layers.add_text(demo::MODEL_CONFIG, "embedded model.toml")?;
    }
    layers.add(user);
    layers.resolve()
}

/// `stop`, `strict` or `strict=N`.
pub fn on_fault(text: &str) -> std::result::Result<OnFault, String> {
    match text.split_once('=').unwrap_or((text, "3")) {
        ("stop", _) if text == "stop" => Ok(OnFault::Stop),
        ("strict", steps) => match steps.parse() {
            Ok(0) => Err("strict=0 survives no fault; use stop".into()),
            Ok(steps) => Ok(OnFault::Strict(steps)),
            Err(_) => Err(format!("{steps:?} is no number of steps; write strict=3")),
        },
        _ => Err("use stop, strict or strict=N".into()),
    }
}

fn set(layers: &mut Layers, key: &str, value: Option<impl Into<toml::Value>>) -> Result<()> {
    match value {
        Some(value) => layers.set(key, value),
        None => Ok(()),
    }
}

fn set_files(layers: &mut Layers, key: &str, files: &[PathBuf]) -> Result<()> {
    let files: Vec<String> = files.iter().map(|file| text(file)).collect();
    set(layers, key, (!files.is_empty()).then_some(files))
}

fn set_numbers(layers: &mut Layers, key: &str, numbers: &[u32]) -> Result<()> {
    let numbers: Vec<i64> = numbers.iter().map(|number| i64::from(*number)).collect();
    set(layers, key, (!numbers.is_empty()).then_some(numbers))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn integer(value: usize) -> i64 {
    value as i64
}
