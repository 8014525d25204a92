//! A whole fine-tune: load, calibrate, measure, train, measure again, report.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use host_model::Model;
use host_model::lora::Lora;
use host_policy::journal::{JournalWriter, Mode, Start};
use host_policy::{Engine, Signer};

use crate::advisor::ActivePolicy;
use crate::calibration::CalibrationFile;
use crate::canary::Canary;
use crate::config::RunConfig;
use crate::data::Plan;
use crate::error::{Error, Result};
use crate::evaluation::{EvalSets, Evaluation, Evaluator};
use crate::judges::Judges;
use crate::manifest::{self, Manifest};
use crate::observer::Observer;
use crate::policies::LoadedPolicy;
use crate::prepare;
use crate::records::Ending;
use crate::report::{Report, Trained};
use crate::run::{Setup, run};
use crate::run_dir::{Lines, RunDir};
use crate::{reference, sensors};

/// Everything that was loaded and checked before the first step.
pub struct Prepared {
    config: RunConfig,
    model: Model,
    plan: Plan,
    policies: Vec<ActivePolicy>,
    /// Signs the journal; there if policies are.
    signer: Option<Signer>,
    /// One per policy that calibrates itself, with the policy's position.
    calibrations: Vec<(usize, CalibrationFile)>,
    judges: Judges,
    canary: Option<Canary>,
    reference: Option<reference::Store>,
    sets: EvalSets,
}

/// Runs the recipe; the run folder exists from the moment all checks have passed.
/// `engine` loads the policies, under the limits it was started with; `signer` signs
/// the journal of what they say, and is asked for only if there are any; what the
/// reference says is kept in `reference_cache` if the configuration names no folder.
pub fn fine_tune(
    config: RunConfig,
    engine: &Engine,
    signer: impl FnOnce() -> Result<Signer>,
    reference_cache: Option<PathBuf>,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report> {
    let prepared = prepare_all(config, signer, reference_cache, engine, observer)?;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let folder = RunDir::create(&prepared.output())?;
    prepared.execute(&folder, observer, stop)
}

/// Cheapest first: the policy files, the data, and only then the model.
fn prepare_all(
    config: RunConfig,
    signer: impl FnOnce() -> Result<Signer>,
    reference_cache: Option<PathBuf>,
    engine: &Engine,
    observer: &mut dyn Observer,
) -> Result<Prepared> {
    let signed_by = config.trust.signed_by()?;
    let loaded = config
        .policies
        .iter()
        .map(|policy| LoadedPolicy::load(policy, signed_by.as_ref(), engine))
        .collect::<Result<Vec<_>>>()?;
    let judges = Judges::load(&config.judges)?;
    let sets = EvalSets::load(&config.eval, config.seed.0)?;
    // Before anything expensive, and not for a run that can't start: it may make a key.
    let signer = match loaded.is_empty() {
        true => None,
        false => Some(signer()?),
    };
    let mut model = prepare::load_model(&config.model, observer)?;
    prepare::checkpoint_activations(&config.train, &mut model)?;
    let samples = prepare::load_samples(&config, &model, observer)?;
    let plan = prepare::plan(&config, samples)?;
    let canary = prepare::canary(&config, &model)?;
    let info = prepare::run_info(&config, &model, plan.total_steps(), &judges);
    let (mut policies, mut calibrations) = (Vec::new(), Vec::new());
    for (number, policy) in loaded.into_iter().enumerate() {
        let has_canary = canary.is_some();
        let (active, calibration) =
            policy.activate(&config, info.clone(), &model, has_canary, observer)?;
        policies.push(active);
        calibrations.extend(calibration.map(|calibration| (number, calibration)));
    }
    let reference = match policies.is_empty() {
        true => None,
        false => {
            let taps = sensors::reference_taps(policies.iter().map(|active| &active.needs));
            reference::open(&config.train, reference_cache, &model, &taps)?
        }
    };
    Ok(Prepared {
        config,
        model,
        plan,
        policies,
        signer,
        calibrations,
        judges,
        canary,
        reference,
        sets,
    })
}

impl Prepared {
    fn output(&self) -> PathBuf {
        let name = names(&self.policies).unwrap_or_else(|| "no-policy".into());
        self.config
            .output
            .clone()
            .unwrap_or_else(|| RunDir::free_path(&name))
    }

    /// Writes what the run is made of, runs its stages, and writes how it ended.
    fn execute(
        &self,
        folder: &RunDir,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Report> {
        let mut manifest = Manifest::new(&self.config, &self.model, &self.policies, &self.plan);
        folder.write_text("config.toml", &manifest::resolved_toml(&self.config)?)?;
        manifest.write(folder)?;
        for (number, calibration) in &self.calibrations {
            calibration.write(&folder.file(&calibration_name(*number)))?;
            let table = crate::report::calibration_table(calibration);
            observer.show("calibration", &table);
        }
        self.announce(observer);
        let result = self.stages(folder, observer, stop);
        match &result {
            Ok(report) => manifest.end(report.ending_name(), None),
            Err(Error::Interrupted) => manifest.end("interrupted", None),
            Err(error) => manifest.end("failed", Some(error.to_string())),
        }
        // The run's own error comes first: on a full disk both fail.
        let written = manifest.write(folder);
        result.and_then(|report| written.map(|()| report))
    }

    /// Evaluate, train plainly if asked to, train under the policy; evaluate after
    /// each. An interrupted training ends the run with what it has.
    fn stages(
        &self,
        folder: &RunDir,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Report> {
        let mut answers = if self.sets.is_empty() {
            None
        } else {
            Some(folder.lines("generations.jsonl")?)
        };
        let mut report = Report::new(folder.path(), names(&self.policies));
        report.before = self.evaluate("before", None, &mut answers, observer, stop)?;
        if self.with_baseline() {
            let child = folder.child("baseline")?;
            let title = "plain fine-tuning, no policy";
            let (trained, adapter) = self.train(&[], &child, title, observer, stop)?;
            let finished = trained.totals.ending != Ending::Interrupted;
            report.baseline = Some(trained);
            if !finished {
                return save(report, folder);
            }
            report.baseline_after =
                self.evaluate("plain", Some(&adapter), &mut answers, observer, stop)?;
        }
        let title = match names(&self.policies) {
            Some(names) => format!("fine-tuning under {names}"),
            None => "fine-tuning, no policy".into(),
        };
        let (trained, adapter) = self.train(&self.policies, folder, &title, observer, stop)?;
        let finished = trained.totals.ending != Ending::Interrupted;
        report.trained = Some(trained);
        if finished {
            report.after = self.evaluate("after", Some(&adapter), &mut answers, observer, stop)?;
        }
        save(report, folder)
    }

    fn with_baseline(&self) -> bool {
        !self.policies.is_empty() && self.config.train.baseline.unwrap_or(false)
    }

    fn announce(&self, observer: &mut dyn Observer) {
        for active in &self.policies {
            let needs = host_policy::needs_summary(&active.needs);
            let text = match needs.is_empty() {
                true => "nothing; it steers the loss weights alone".to_owned(),
                false => needs.join("\n"),
            };
            observer.show(&format!("{} asks for", active.policy.name()), &text);
        }
        let reads_current = |active: &ActivePolicy| crate::sensors::reads_current(&active.needs);
        let micro = self.config.train.micro_batch();
        if micro < self.config.train.batch && self.policies.iter().any(reads_current) {
            observer.notice("a policy reads the current model and a step has several micro-batches: each step takes one more forward");
        }
    }

    /// Trains one adapter from the run's seed and saves it in the folder.
    fn train(
        &self,
        policies: &[ActivePolicy],
        folder: &RunDir,
        title: &str,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<(Trained, Lora)> {
        let config = &self.config;
        let device: &Device = self.model.decoder.device();
        let adapter = Lora::new(
            &self.model.config,
            config.lora.resolve(),
            config.seed.0,
            device,
        )?;
        let setup = Setup {
            decoder: &self.model.decoder,
            adapter: &adapter,
            plan: &self.plan,
            policies,
            judges: &self.judges,
            canary: self.canary.as_ref(),
            reference: self.reference.as_ref(),
            config: &config.train,
            on_fault: config.trust.on_fault(),
        };
        observer.stage(title, Some(self.plan.total_steps()));
        let mut records = folder.records(self.journal(policies, folder)?)?;
        let result = run(&setup, &mut records, observer, stop);
        let ending = result
            .as_ref()
            .map_or("failed", |totals| totals.ending.name());
        // The run's own error comes first: on a full disk both fail.
        let ended = records.end(ending);
        let totals = result?;
        ended?;
        if records.unrecorded() > 0 && self.config.journal.mode == Mode::Full {
            let notice = format!(
                "the journal had no room for the tensors of {} assessments, which can't be \
                 replayed; raise journal.budget_mib",
                records.unrecorded()
            );
            observer.notice(&notice);
        }
        adapter.save_peft(
            &folder.file("adapter"),
            &self.model.config,
            &self.model.name,
        )?;
        Ok((
            Trained {
                totals,
                total: self.plan.total_steps(),
            },
            adapter,
        ))
    }

    fn journal(
        &self,
        policies: &[ActivePolicy],
        folder: &RunDir,
    ) -> Result<Option<JournalWriter<'_>>> {
        let (Some(first), Some(signer)) = (policies.first(), &self.signer) else {
            return Ok(None);
        };
        let config = &self.config.journal;
        let seats = policies.iter().map(|active| {
            let ActivePolicy {
                policy,
                settings,
                needs,
                parameters,
                ..
            } = active;
            (policy, settings.as_str(), needs, parameters.as_slice())
        });
        let start = Start {
            mode: config.mode,
            budget_bytes: config.budget_mib << 20,
            on_fault: self.config.trust.on_fault().to_string(),
            run: &first.run,
            policies: seats.collect(),
        };
        Ok(Some(JournalWriter::create(
            &folder.file("journal"),
            &start,
            signer,
        )?))
    }

    fn evaluate(
        &self,
        name: &str,
        adapter: Option<&Lora>,
        answers: &mut Option<Lines>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<Evaluation>> {
        if answers.is_none() {
            return Ok(None);
        }
        let evaluator = Evaluator {
            model: &self.model,
            config: &self.config.eval,
            sets: &self.sets,
            stop,
        };
        evaluator
            .evaluate(name, adapter, answers.as_mut(), observer)
            .map(Some)
    }
}

/// The policies' names, as one word for files and tables.
fn names(policies: &[ActivePolicy]) -> Option<String> {
    let names: Vec<&str> = policies.iter().map(|active| active.policy.name()).collect();
    (!names.is_empty()).then(|| names.join("+"))
}

/// The first policy's is `calibration.json`, the second's `calibration-2.json`.
fn calibration_name(number: usize) -> String {
    match number {
        0 => "calibration.json".into(),
        _ => format!("calibration-{}.json", number + 1),
    }
}

fn save(report: Report, folder: &RunDir) -> Result<Report> {
    folder.write_json("report.json", &report)?;
    Ok(report)
}
