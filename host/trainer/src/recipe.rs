//! A whole fine-tune: load, calibrate, measure, train, measure again, report.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Device;
use host_model::Model;
use host_model::lora::Lora;

use crate::advisor::ActivePolicy;
use crate::canary::Canary;
use crate::config::RunConfig;
use crate::data::Plan;
use crate::error::{Error, Result};
use crate::evaluation::{EvalSets, Evaluation, Evaluator};
use crate::judges::Judges;
use crate::manifest::{self, Manifest};
use crate::observer::Observer;
use crate::prepare::{self, LoadedPolicy};
use crate::report::{Report, Trained};
use crate::run::{Ending, Setup, run};
use crate::run_dir::{Lines, RunDir};

/// Everything that was loaded and checked before the first step.
pub struct Prepared {
    config: RunConfig,
    model: Model,
    plan: Plan,
    policy: Option<ActivePolicy>,
    calibration: Option<crate::calibration::CalibrationFile>,
    judges: Judges,
    canary: Option<Canary>,
    sets: EvalSets,
}

/// Runs the recipe; the run folder exists from the moment all checks have passed.
pub fn fine_tune(
    config: RunConfig,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report> {
    let prepared = prepare_all(config, observer)?;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let folder = RunDir::create(&prepared.output())?;
    prepared.execute(&folder, observer, stop)
}

/// Cheapest first: the policy file, the data, and only then the model.
fn prepare_all(config: RunConfig, observer: &mut dyn Observer) -> Result<Prepared> {
    let loaded = config
        .policy
        .as_ref()
        .map(|policy| LoadedPolicy::load(policy, &config))
        .transpose()?;
    let judges = Judges::load(&config.judges)?;
    let sets = EvalSets::load(&config.eval, config.seed.0)?;
    let model = prepare::load_model(&config.model, observer)?;
    let samples = prepare::load_samples(&config, &model, observer)?;
    let plan = prepare::plan(&config, samples)?;
    let canary = prepare::canary(&config, &model)?;
    let info = prepare::run_info(&config, &model, plan.total_steps(), &judges);
    let (policy, calibration) = match loaded {
        Some(loaded) => {
            let (policy, calibration) =
                prepare::activate(loaded, &config, info, &model, canary.is_some(), observer)?;
            (Some(policy), calibration)
        }
        None => (None, None),
    };
    Ok(Prepared {
        config,
        model,
        plan,
        policy,
        calibration,
        judges,
        canary,
        sets,
    })
}

impl Prepared {
    fn output(&self) -> PathBuf {
        let name = self
            .policy
            .as_ref()
            .map_or("no-policy", |active| active.policy.name());
        self.config
            .output
            .clone()
            .unwrap_or_else(|| RunDir::free_path(name))
    }

    /// Writes what the run is made of, runs its stages, and writes how it ended.
    fn execute(
        &self,
        folder: &RunDir,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Report> {
        let mut manifest =
            Manifest::new(&self.config, &self.model, self.policy.as_ref(), &self.plan);
        folder.write_text("config.toml", &manifest::resolved_toml(&self.config)?)?;
        manifest.write(folder)?;
        if let Some(calibration) = &self.calibration {
            calibration.write(&folder.file("calibration.json"))?;
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
        let mut report = Report::new(folder.path(), self.policy.as_ref());
        report.before = self.evaluate("before", None, &mut answers, observer, stop)?;
        if self.with_baseline() {
            let child = folder.child("baseline")?;
            let title = "plain fine-tuning, no policy";
            let (trained, adapter) = self.train(None, &child, title, observer, stop)?;
            let finished = trained.ending != Ending::Interrupted;
            report.baseline = Some(trained);
            if !finished {
                return save(report, folder);
            }
            report.baseline_after =
                self.evaluate("plain", Some(&adapter), &mut answers, observer, stop)?;
        }
        let title = match &self.policy {
            Some(active) => format!("fine-tuning under {}", active.policy.name()),
            None => "fine-tuning, no policy".into(),
        };
        let (trained, adapter) =
            self.train(self.policy.as_ref(), folder, &title, observer, stop)?;
        let finished = trained.ending != Ending::Interrupted;
        report.trained = Some(trained);
        if finished {
            report.after = self.evaluate("after", Some(&adapter), &mut answers, observer, stop)?;
        }
        save(report, folder)
    }

    fn with_baseline(&self) -> bool {
        self.policy.is_some() && self.config.train.baseline.unwrap_or(false)
    }

    fn announce(&self, observer: &mut dyn Observer) {
        let Some(active) = &self.policy else { return };
        observer.show(
            &format!("{} asks for", active.policy.name()),
            &host_policy::needs_summary(&active.needs).join("\n"),
        );
        let micro = self.config.train.micro_batch();
        if micro < self.config.train.batch && crate::sensors::reads_current(&active.needs) {
            observer.notice("the policy reads the current model and a step has several micro-batches: each step takes one more forward");
        }
    }

    /// Trains one adapter from the run's seed and saves it in the folder.
    fn train(
        &self,
        policy: Option<&ActivePolicy>,
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
            policy,
            judges: &self.judges,
            canary: self.canary.as_ref(),
            config: &config.train,
        };
        observer.stage(title, Some(self.plan.total_steps()));
        let started = Instant::now();
        let mut journal = folder.journal(policy.is_some())?;
        let (ending, steps) = run(&setup, &mut journal, observer, stop)?;
        let seconds = started.elapsed().as_secs_f64();
        adapter.save_peft(
            &folder.file("adapter"),
            &self.model.config,
            &self.model.name,
        )?;
        Ok((
            Trained {
                ending,
                steps,
                total: self.plan.total_steps(),
                seconds,
            },
            adapter,
        ))
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

fn save(report: Report, folder: &RunDir) -> Result<Report> {
    folder.write_json("report.json", &report)?;
    Ok(report)
}
