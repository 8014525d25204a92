//! Loads and checks everything before the first step, cheapest first, so that a
//! mistake costs seconds and leaves nothing behind.

use std::path::Path;

use candle_core::{DType, Device};
use host_model::Model;
use host_model::load::{LoadOptions, Source};
use host_policy::wit::{Needs, RunInfo};
use host_policy::{Engine, Policy};

use crate::advisor::{ActivePolicy, check_needs};
use crate::calibration::{self, CalibrationFile};
use crate::canary::Canary;
use crate::config::{ModelConfig, PolicyConfig, RunConfig};
use crate::data::{self, Plan, Sample, encode_chats};
use crate::demo;
use crate::error::{Error, Result};
use crate::judges::Judges;
use crate::observer::Observer;

/// A policy file that was loaded and whose settings are JSON, not yet configured.
pub struct LoadedPolicy {
    pub policy: Policy,
    pub settings: serde_json::Value,
}

impl LoadedPolicy {
    pub fn load(config: &PolicyConfig, run: &RunConfig) -> Result<Self> {
        let engine = Engine::new(&run.limits)?;
        let policy = match &config.sha256 {
            Some(pin) => Policy::load_pinned(&engine, &config.path, pin)?,
            None => Policy::load(&engine, &config.path)?,
        };
        let settings = serde_json::to_value(&config.settings)
            .map_err(|error| Error::config("policy.settings", error.to_string()))?;
        Ok(Self { policy, settings })
    }

    pub fn settings_json(&self) -> String {
        self.settings.to_string()
    }
}

pub fn load_model(config: &ModelConfig, observer: &mut dyn Observer) -> Result<Model> {
    let source = match &config.source {
        Some(source) => Source::parse(source)?,
        None => Source::Embedded(demo::MODEL),
    };
    observer.stage(
        &format!(
            "loading {}",
            config
                .source
                .as_deref()
                .unwrap_or("the embedded demo model")
        ),
        None,
    );
    let device = device(&config.device)?;
    let options = LoadOptions {
        device,
        dtype: DType::F32,
        kernels: None,
        chat_template: config.chat_template.clone(),
        ..LoadOptions::default()
    };
    Ok(host_model::load::load(&source, &options)?)
}

fn device(name: &str) -> Result<Device> {
    let index = match name.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        None if name == "cuda" => Ok(0),
        Some(("cuda", index)) => index.parse::<usize>(),
        _ => {
            return Err(Error::config(
                "model.device",
                format!("{name:?} is not a device; use cpu, cuda or cuda:N"),
            ));
        }
    };
    let index = index.map_err(|_| {
        Error::config(
            "model.device",
            format!("{name:?} names no CUDA device; use cuda:N"),
        )
    })?;
    if !candle_core::utils::cuda_is_available() {
        let problem =
            "this binary was built without CUDA; build it with --features cuda, or use cpu";
        return Err(Error::config("model.device", problem));
    }
    Device::new_cuda(index).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Error::config(
            "model.device",
            format!("{name} can't be used ({first}); choose another device"),
        )
    })
}

/// Reads, mixes and tokenises the training data, and shows its first example.
pub fn load_samples(
    run: &RunConfig,
    model: &Model,
    observer: &mut dyn Observer,
) -> Result<Vec<Sample>> {
    let rows = data::read_rows(&run.data.train, run.seed.0)?;
    let tokenizer = &model.tokenizer;
    let encoded = encode_chats(&rows, run.data.max_tokens, run.data.overlong, tokenizer)?;
    if let Some(warning) = encoded.warning() {
        observer.notice(&warning);
    }
    let example = data::show_example(&encoded.samples[0], |tokens| {
        tokenizer.decode_with_special(tokens).unwrap_or_default()
    });
    observer.show("first training example", &example);
    Ok(encoded.samples)
}

pub fn run_info(run: &RunConfig, model: &Model, total_steps: u64, judges: &Judges) -> RunInfo {
    RunInfo {
        layers: model.config.num_layers as u32,
        hidden: model.config.hidden_size as u32,
        vocabulary: model.config.vocab_size as u32,
        samples_per_step: run.train.batch as u32,
        total_steps,
        seed: run.seed.0,
        judges: judges.names(),
    }
}

/// Configures the policy, checks its needs against the run, and calibrates it if
/// it wants to be. The calibration is returned for the run folder.
pub fn activate(
    loaded: LoadedPolicy,
    run: &RunConfig,
    info: RunInfo,
    model: &Model,
    has_canary: bool,
    observer: &mut dyn Observer,
) -> Result<(ActivePolicy, Option<CalibrationFile>)> {
    let settings = loaded.settings_json();
    let needs = loaded.policy.configure(&settings, &info)?;
    check_needs(loaded.policy.name(), &needs, &info.judges, has_canary)?;
    let (needs, calibration, parameters) = if needs.calibration {
        let calibration = fitted(&loaded, run, &info, &needs, model, observer)?;
        let parameters = hex::decode(&calibration.parameters).unwrap_or_default();
        (calibration.needs.clone(), Some(calibration), parameters)
    } else {
        (needs, None, Vec::new())
    };
    let active = ActivePolicy {
        policy: loaded.policy,
        settings,
        run: info,
        needs,
        parameters,
    };
    Ok((active, calibration))
}

/// From the calibration file if one is named, else fitted now.
fn fitted(
    loaded: &LoadedPolicy,
    run: &RunConfig,
    info: &RunInfo,
    needs: &Needs,
    model: &Model,
    observer: &mut dyn Observer,
) -> Result<CalibrationFile> {
    match run
        .policy
        .as_ref()
        .and_then(|policy| policy.calibration.as_deref())
    {
        Some(path) => stored(path, loaded, needs, model),
        None => calibrate(loaded, run, info, needs, model, observer),
    }
}

fn stored(
    path: &Path,
    loaded: &LoadedPolicy,
    needs: &Needs,
    model: &Model,
) -> Result<CalibrationFile> {
    let file = CalibrationFile::read(path)?;
    file.check(path, &loaded.policy, &loaded.settings, model)?;
    // What the run was checked against is what `configure` said; a file may narrow
    // it, as `calibrate` may, and no more.
    match host_policy::exceeds(&file.needs, needs) {
        Some(problem) => {
            let problem = format!("{problem}; run host calibrate again");
            Err(Error::file(path, problem))
        }
        None => Ok(file),
    }
}

/// Measures the labelled prompts and fits the policy.
pub fn calibrate(
    loaded: &LoadedPolicy,
    run: &RunConfig,
    info: &RunInfo,
    needs: &Needs,
    model: &Model,
    observer: &mut dyn Observer,
) -> Result<CalibrationFile> {
    if run.calibration.data.is_empty() {
        return Err(Error::UnmetNeed {
            policy: loaded.policy.name().into(),
            need: "labelled prompts to calibrate on".into(),
            remedy: "give --labelled FILE (rows of prompt and label), --calibration FILE from host calibrate, \
                     or calibration.data = [\"demo:calibrate.jsonl\"]"
                .into(),
        });
    }
    let prompts = calibration::load_prompts(&run.calibration, run.seed.0)?;
    let settings = loaded.settings_json();
    let result = calibration::calibrate(
        &loaded.policy,
        &settings,
        info,
        needs,
        model,
        &prompts,
        observer,
    )?;
    Ok(CalibrationFile {
        policy: loaded.policy.name().to_owned(),
        policy_sha256: loaded.policy.digest().to_owned(),
        settings: loaded.settings.clone(),
        model: model.name.clone(),
        model_digest: model.digest.clone(),
        examples: prompts.len(),
        summary: result.summary,
        needs: result.needs,
        candidates: result.candidates,
        parameters: hex::encode(result.parameters),
    })
}

pub fn canary(run: &RunConfig, model: &Model) -> Result<Option<Canary>> {
    Canary::load(&run.canary, &model.tokenizer, run.seed.0)
}

pub fn plan(run: &RunConfig, samples: Vec<Sample>) -> Result<Plan> {
    let train = &run.train;
    Ok(Plan::new(
        samples,
        train.batch,
        train.epochs,
        train.max_steps,
        run.seed.0,
    )?)
}
