//! Loads and checks everything before the first step, cheapest first, so that a
//! mistake costs seconds and leaves nothing behind.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use host_contract::RunInfo;
use host_data::load_model;
use host_data::{DataConfig, HeldOut, Plan, Reader, Sample, Samples, Texts};
use host_eval::canary::Canary;
use host_eval::evaluation::{EvalSets, Examination};
use host_judges::{FailureLimit, Judges};
use host_model::lora::{Lora, Shape};
use host_model::{ChatTokenizer, Model};
use host_sandbox::{Engine, Signer};
use twox_hash::XxHash64;

use crate::actuators::adapter_projection::Subspaces;
use crate::config::{ModelConfig, RunConfig, WeightType};
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use crate::records::observer::Observer;
use crate::session::load_policies::LoadedPolicy;
use crate::step::Base;

/// Folders that keep between runs what took long to find out, each if there is one.
#[derive(Debug, Clone, Default)]
pub struct Caches {
    /// What the reference says, if the configuration names no other.
    pub reference: Option<PathBuf>,
    pub judges: Option<PathBuf>,
}

/// What a run is made of, loaded and checked; policies are not configured yet.
pub struct Loaded<'a> {
    pub policies: Vec<LoadedPolicy<'a>>,
    pub judges: Judges,
    pub sets: EvalSets,
    pub signer: Option<Signer>,
    pub model: Model,
    pub plan: Plan,
    /// What the adapter looks like.
    pub shape: Shape,
    pub canary: Option<Canary>,
    /// Rows that were taken out of the training data.
    pub validation: Vec<Sample>,
}

/// A model and what it is trained on.
pub struct Trainable {
    pub model: Model,
    pub plan: Plan,
    /// What the adapter looks like.
    pub shape: Shape,
    /// Rows that were taken out of the training data.
    pub validation: Vec<Sample>,
}

impl<'a> Loaded<'a> {
    /// Cheapest first: the policy files, the data, and only then the model. `signer` is
    /// asked for only if there are policies.
    pub fn new(
        config: &'a RunConfig,
        signer: impl FnOnce() -> Result<Option<Signer>>,
        engine: &Engine,
        judge_cache: Option<&Path>,
        reader: &Reader,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let policies = config
            .policies
            .iter()
            .map(|policy| LoadedPolicy::load(policy, &config.trust, engine))
            .collect::<Result<Vec<_>>>()?;
        config.model.prepare()?;
        let mut judges = Judges::load(&config.judges, judge_cache)?;
        let sets = EvalSets::load(&config.eval, reader)?;
        // Before anything expensive, and not for a run that can't start: it may make a key.
        let signer = if policies.is_empty() { None } else { signer()? };
        let Trainable { model, plan, shape, validation } = load_training(config, reader, observer)?;
        sets.check(&model, reader)?;
        let planned = plan.total_steps() as usize * config.train.batch;
        judges.limit_failures(FailureLimit { share: config.trust.judge_failures, planned });
        let canary = canary(config, &model, reader)?;
        Ok(Self { policies, judges, sets, signer, model, plan, shape, canary, validation })
    }

    /// What is asked between the steps, if that is wanted.
    pub fn examination(&mut self, config: &RunConfig) -> Result<Option<Examination>> {
        if config.eval.during.every.is_none() {
            return Ok(None);
        }
        let (rows, seed) = (std::mem::take(&mut self.validation), config.seed.0);
        Ok(Some(Examination::new(&config.eval, &self.sets, rows, &self.model, seed)?))
    }

    /// What the policies are told of the run.
    pub fn info(&self, config: &RunConfig) -> RunInfo {
        run_info(config, &self.model, self.plan.total_steps())
    }
}

/// The model, the order in which it takes the samples, and what its adapter looks like.
pub fn load_training(
    config: &RunConfig,
    reader: &Reader,
    observer: &mut dyn Observer,
) -> Result<Trainable> {
    if config.data.sources().is_empty() {
        let problem =
            "names no files; give --data FILE, or leave the key out to train on the demo data";
        return Err(Error::config("data.train", problem));
    }
    let mut model = load_model(&config.model, observer)?;
    // What fits nothing in the model is told before anything is written.
    let shape = first_shape(config, &model)?;
    if let Some(folder) = &config.lora.start {
        observer.notice(&format!(
            "training goes on with the adapter {}; the reference is the model without it (model.adapter \
             takes an adapter into the reference)",
            folder.display()
        ));
    }
    config.demo_data().iter().for_each(|line| observer.notice(line));
    model.decoder.recompute = config.train.checkpoint_activations;
    let mut samples = load_samples(config, &model, reader, observer)?;
    let mut validation = Vec::new();
    if let Some(part) = config.data.validation {
        let HeldOut { rows, of, groups } = samples.hold_out_of(part, config.seed.0)?;
        observer.notice(&format!(
            "{} of {of} task rows, with {groups} prompts, are held out of training to measure the \
             loss on them (data.validation = {part})",
            rows.len()
        ));
        validation = rows;
    }
    let plan = plan(config, samples)?;
    Ok(Trainable { model, plan, shape, validation })
}

/// The base model that the configuration names, if it names one.
pub fn load_base(
    config: &RunConfig,
    (model, shape): (&Model, &Shape),
    observer: &mut dyn Observer,
) -> Result<Option<Base>> {
    let Some(source) = &config.model.base else {
        return Ok(None);
    };
    let base = ModelConfig {
        source: Some(source.clone()),
        chat_template: None,
        adapter: None,
        // In halves or not, as the model: that was said.
        dtype: match config.model.dtype {
            WeightType::Bf16x3 => WeightType::F32,
            dtype => dtype,
        },
        ..config.model.clone()
    };
    let base = load_model(&base, observer)?;
    let (aligned, weights) = (&model.decoder.weights, &base.decoder.weights);
    Ok(Some(Base { subspaces: Subspaces::new(aligned, weights, shape)?, digest: base.digest }))
}

/// Reads, mixes and tokenises the training data, and shows its first example.
pub fn load_samples(
    run: &RunConfig,
    model: &Model,
    reader: &Reader,
    observer: &mut dyn Observer,
) -> Result<Samples> {
    let tokenizer = &model.tokenizer;
    // What is longer than the model's context can't go through the model, whatever the limit.
    let context = model.config.max_position;
    let data = DataConfig { max_tokens: run.data.max_tokens.min(context), ..run.data.clone() };
    let texts = if run.judges.is_empty() { Texts::Dropped } else { Texts::Kept };
    let encoded = reader.samples(&data, tokenizer, texts)?;
    if let Some(warning) = encoded.warning() {
        observer.notice(&warning);
        if context < run.data.max_tokens {
            observer.notice(&format!(
                "the model's context is {context} tokens, less than data.max_tokens"
            ));
        }
    }
    if let Some(warning) = without_end(&encoded.samples, tokenizer)? {
        observer.notice(&warning);
    }
    for line in encoded.about_thoughts() {
        observer.notice(&line);
    }
    let samples = encoded.samples;
    if let Some(line) = samples.about_memory() {
        observer.notice(&line);
    }
    if let Some(first) = samples.get(0) {
        let example = host_data::show_example(&*samples.read(first)?, |tokens| {
            tokenizer.decode_with_special(tokens).unwrap_or_default()
        });
        observer.show("first training example", &example);
    }
    Ok(samples)
}

/// Says so if answers don't end with a token at which generation stops: a model learns to stop
/// from them alone.
fn without_end(samples: &Samples, tokenizer: &ChatTokenizer) -> Result<Option<String>> {
    let stop = tokenizer.stop_tokens();
    let (mut answers, mut open, mut last) = (0, 0, None);
    for stored in samples {
        let sample = samples.read(stored)?;
        let texts = sample.answer.iter().filter_map(|answer| sample.tokens.get(answer.clone()));
        for end in texts.filter_map(|answer| tokenizer.ending(answer)) {
            answers += 1;
            if !stop.contains(&end) {
                open += 1;
                last.get_or_insert(end);
            }
        }
    }
    // A few may have been cut.
    if 2 * open <= answers {
        return Ok(None);
    }
    let last = last.and_then(|id| tokenizer.token(id)).unwrap_or_default();
    let stop: Vec<String> =
        stop.iter().filter_map(|id| tokenizer.token(*id)).map(|it| format!("{it:?}")).collect();
    let stop = if stop.is_empty() { "none".into() } else { stop.join(", ") };
    Ok(Some(format!(
        "{open} of {answers} answers don't end with a token at which generation stops ({stop}) but \
         with {last:?}, so the model won't learn to stop; give a chat template that ends answers \
         with one of them (--chat-template FILE)"
    )))
}

pub fn run_info(run: &RunConfig, model: &Model, total_steps: u64) -> RunInfo {
    RunInfo {
        layers: model.config.num_layers as u32,
        hidden: model.config.hidden_size as u32,
        vocabulary: model.config.vocab_size as u32,
        samples_per_step: run.train.batch as u32,
        total_steps,
        seed: run.seed.0,
        judges: run.judges.keys().cloned().collect(),
    }
}

pub fn canary(run: &RunConfig, model: &Model, reader: &Reader) -> Result<Option<Canary>> {
    Ok(Canary::load(&run.canary, model, reader)?)
}

pub fn plan(run: &RunConfig, samples: Samples) -> Result<Plan> {
    let train = &run.train;
    Ok(Plan::new(samples, train.batch, train.epochs, train.max_steps, run.seed.0)?)
}

/// The adapter that a training starts with: the one that the configuration names, or a fresh
/// one, which is a function of the seed and changes nothing.
pub fn first_adapter(config: &RunConfig, model: &Model) -> Result<Lora> {
    let device = model.decoder.device();
    if let Some(folder) = &config.lora.start {
        return Ok(Lora::load_peft(folder, &model.config, device)?);
    }
    let (weights, fresh) = (&model.decoder.weights, config.lora.resolve());
    Ok(Lora::for_weights(&model.config, weights, fresh, config.seed.0)?)
}

/// What [`first_adapter`] looks like; of a fresh one no value is drawn for that.
fn first_shape(config: &RunConfig, model: &Model) -> Result<Shape> {
    match config.lora.start {
        Some(_) => Ok(first_adapter(config, model)?.shape().clone()),
        None => Ok(config.lora.resolve().shape(&model.config)?),
    }
}

/// All ranks must have read the same.
pub fn agree(ranks: &Ranks, model: &Model, plan: &Plan) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let digest = |text: &str| XxHash64::oneshot(0, text.as_bytes());
    ranks.agree("the model", digest(&model.digest))?;
    ranks.agree("the tokenizer", digest(&model.tokenizer.digest()))?;
    let mut data = XxHash64::with_seed(0);
    for stored in plan.samples() {
        let sample = plan.samples().read(stored)?;
        sample.tokens.hash(&mut data);
        sample.answer.hash(&mut data);
    }
    ranks.agree("the training data", data.finish())
}
