//! A whole fine-tune: load, calibrate, measure, train, measure again, report.

mod arms;
mod assemble;
mod told;
mod vouch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use host_audit::journal::Identity;
use host_data::{Digests, Failure, Notices};
use host_eval::evaluation::{self, EvalSets, Evaluation, Evaluator, Examination};
use host_eval::report::Report;
use host_model::lora::Lora;
use host_sandbox::{Engine, Signer};

use crate::config::{Layers, RunConfig};
use crate::error::{Error, Result};
use crate::policies::ActivePolicy;
use crate::ranks::Ranks;
use crate::records::Ending;
use crate::records::observer::{NoticeKeeper, Observer, Progress};
use crate::records::run_dir::{Lines, RunDir};
use crate::session::calibration::{self, CalibrationFile};
use crate::session::dry_run;
use crate::session::manifest::{self, Manifest};
use crate::session::prepare::Caches;
use crate::session::stages::Stages;
use crate::session::tracking::{self, Tracking, Watched};
use crate::step::RunContext;

/// Everything that was loaded and checked before the first step.
pub struct Prepared<'r> {
    ranks: &'r Ranks,
    config: RunConfig,
    context: RunContext,
    policies: Vec<ActivePolicy>,
    /// Signs the journal; there if policies are.
    signer: Option<Signer>,
    /// One per policy that calibrates itself, with the policy's position.
    calibrations: Vec<(usize, CalibrationFile)>,
    sets: EvalSets,
    /// What is asked between the steps, if that is wanted.
    examination: Option<Examination>,
    /// What a person should know of the data, and what files were read.
    notices: Notices,
    digests: Digests,
    /// What the run is made of, if that is signed; known when all else is.
    identity: Identity,
}

/// What the program brings to a run.
pub struct Runtime<'a> {
    /// Loads the policies, under the limits it was started with.
    pub engine: &'a Engine,
    pub caches: Caches,
    pub ranks: &'a Ranks,
}

/// Runs the recipe. The folder of a new run exists from the moment all checks have
/// passed; `resume` names that of a run to go on with, whose configuration `config` is but for
/// keys that change nothing about what it learns. `signer` signs the journal of what the policies
/// say, and is asked for only if there are any. This is what the root does; the others [`follow`](crate::session::follow).
pub fn fine_tune(
    mut config: RunConfig,
    resume: Option<&Path>,
    means: Runtime,
    signer: impl FnOnce() -> Result<Signer>,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report> {
    let observer = &mut NoticeKeeper::new(observer);
    config.trackers.ready()?;
    if let Some(path) = resume {
        let folder = RunDir::open(path)?;
        let _lock = folder.lock()?;
        let reconfigured = reconfigured(&config, &folder)?;
        let settled = manifest::settled(&config)?;
        // Before anything else in the folder is believed.
        let signer = if config.policies.is_empty() { None } else { Some(signer()?) };
        let stages = Stages::of(&folder, signer.as_ref().map(Signer::public))?;
        use_fitted(&mut config, &folder);
        let mut prepared =
            assemble::prepare_all(config, Some(&folder), means, || Ok(signer), observer)?;
        // Nothing is sent for a run that isn't what it was.
        let manifest = prepared.settle(&settled, Some((&folder, stages.as_ref())))?;
        prepared.try_judges(observer, stop)?;
        let reconfigured = reconfigured.map(|config| folder.reconfigure(&config));
        let _lock_of_the_new_file = reconfigured.transpose()?;
        let stages = stages.unwrap_or_else(|| prepared.stages(&manifest));
        return prepared.execute(&folder, manifest, stages, true, observer, stop);
    }
    let signer = || signer().map(Some);
    config.pin_data()?;
    let mut prepared = assemble::prepare_all(config, None, means, signer, observer)?;
    prepared.keep_date();
    prepared.try_judges(observer, stop)?;
    if stop.load(Ordering::Relaxed) {
        return Err(Failure::Interrupted.into());
    }
    let manifest = prepared.settle(&manifest::settled(&prepared.config)?, None)?;
    let mut stages = prepared.stages(&manifest);
    let config = manifest::resolved_toml(&prepared.config)?;
    let fill = |folder: &Path| prepared.fill(folder, &mut stages);
    let folder = RunDir::create_with(&prepared.output(), &config, fill)?;
    let _lock = folder.lock()?;
    prepared.execute(&folder, manifest, stages, false, observer, stop)
}

/// The text of a configuration that is not the one the run was begun or resumed with.
fn reconfigured(config: &RunConfig, folder: &RunDir) -> Result<Option<String>> {
    let mut before = Layers::default();
    before.add_file(&folder.file("config.toml"))?;
    let (before, now) =
        (manifest::resolved_toml(&before.resolve()?)?, manifest::resolved_toml(config)?);
    Ok((before != now).then_some(now))
}

/// A run that goes on keeps the parameters that were fitted when it began.
fn use_fitted(config: &mut RunConfig, folder: &RunDir) {
    for (number, policy) in config.policies.iter_mut().enumerate() {
        let fitted = folder.file(&CalibrationFile::name(number));
        if fitted.is_file() {
            policy.calibration = Some(fitted);
        }
    }
}

impl Prepared<'_> {
    /// What is asked of this run later, such as going on with it, shows the day on which
    /// it began.
    fn keep_date(&mut self) {
        let moment = self.context.model.tokenizer.template_moment();
        let model = &mut self.config.model;
        model.template_date = model.template_date.take().or(moment.map(|it| it.to_string()));
    }

    fn output(&self) -> PathBuf {
        let names: Vec<&str> = self.policies.iter().map(|one| one.policy.name()).collect();
        let name = if names.is_empty() { "no-policy".into() } else { names.join("+") };
        self.config.output.clone().unwrap_or_else(|| RunDir::free_path(&name))
    }

    /// Writes what the run is made of, runs its stages, and writes how it ended.
    fn execute(
        &self,
        folder: &RunDir,
        mut manifest: Manifest,
        mut stages: Stages,
        resumed: bool,
        observer: &mut NoticeKeeper,
        stop: &AtomicBool,
    ) -> Result<Report> {
        manifest.note(observer.notices());
        if let (Some(notary), Some(seal)) = (self.notary(), &mut stages.seal) {
            seal.notices = manifest.notices().to_vec();
            stages.begin(folder.path(), Some(notary))?;
        }
        manifest.write(folder)?;
        for (_, calibration) in &self.calibrations {
            let table = calibration::table(calibration, observer.width());
            observer.show("calibration", table.as_str());
        }
        self.announce(observer);
        let arms = tracking::arms(!self.policies.is_empty(), self.with_baseline());
        let tracking = Tracking::start(&self.config, &manifest, folder, resumed, arms);
        let watched = &mut Watched::new(observer, &tracking);
        let result = self.run_stages(folder, &mut stages, watched, stop);
        let result = result.map_err(|error| self.resumable(error, folder));
        match &result {
            Ok(report) => manifest.end(report.ending_name(), None),
            Err(Error::Failure(Failure::Interrupted)) => manifest.end("interrupted", None),
            Err(error) => manifest.end("failed", Some(error.to_string())),
        }
        let report = result.as_ref().unwrap_or(&stages.report);
        let left_out = tracking.end(manifest.status(), report);
        left_out.iter().for_each(|line| observer.notice(line));
        manifest.note(observer.notices());
        // The run's own error comes first: on a full disk both fail.
        let written = manifest.write(folder).and_then(|()| match self.notary() {
            Some(notary) => stages.close(folder, notary, manifest.status(), manifest.notices()),
            None => Ok(()),
        });
        result.and_then(|report| written.map(|()| report))
    }

    /// A judge that had no scores and may have some later is asked again where the run goes on;
    /// any other one makes another run.
    fn resumable(&self, error: Error, folder: &RunDir) -> Error {
        match error {
            Error::Failure(Failure::Judge { judge, problem, remedy }) => {
                let next = if self.context.judges.may_recover(&judge) {
                    format!("go on with {}", self.config.resume_command(folder.path()))
                } else {
                    "start a new run".into()
                };
                Failure::Judge { judge, problem, remedy: format!("{remedy}, then {next}") }.into()
            }
            other => other,
        }
    }

    /// Evaluate, train plainly if asked to, train under the policy; evaluate after
    /// each. What the run has behind it is not repeated. An interrupted training ends
    /// the run with what it has.
    fn run_stages(
        &self,
        folder: &RunDir,
        stages: &mut Stages,
        observer: &mut Watched,
        stop: &AtomicBool,
    ) -> Result<Report> {
        let notary = self.notary();
        stages.report.run = folder.path().into();
        stages.report.notices = self.notices.clone();
        let mut answers = if self.sets.is_empty() {
            None
        } else {
            Some(folder.lines_from("generations.jsonl", stages.generations_bytes)?)
        };
        if stages.report.before.is_none() && self.config.eval.before {
            stages.report.before = self.evaluate("before", None, &mut answers, observer, stop)?;
            stages.keep(&mut answers, folder, notary)?;
        }
        for arm in self.arms(folder)? {
            let training = self.training(arm.name, arm.policies, &arm.folder);
            let tracked = tracking::arm(!arm.policies.is_empty());
            observer.train(tracked, stages.report.before.as_ref());
            let adapter = match (arm.place)(&mut stages.report) {
                (Some(_), Some(_)) => continue,
                (Some(_), None) => training.adapter()?,
                (None, _) => {
                    let (ended, adapter, head) = training.run(&arm.title, observer, stop)?;
                    self.context.model.decoder.release();
                    if let (Some(seal), Some(head)) = (&mut stages.seal, head) {
                        seal.journal = Some(head);
                    }
                    let interrupted = ended.totals.ending == Ending::Interrupted;
                    *(arm.place)(&mut stages.report).0 = Some(ended);
                    if interrupted {
                        let report = stages.report.clone();
                        // One that goes on is not over.
                        *(arm.place)(&mut stages.report).0 = None;
                        return save(report, folder);
                    }
                    stages.keep(&mut answers, folder, notary)?;
                    adapter
                }
            };
            let after = self.evaluate(arm.name, Some(&adapter), &mut answers, observer, stop)?;
            if let Some(after) = &after {
                observer.evaluated(tracked, self.context.plan.total_steps(), after);
            }
            *(arm.place)(&mut stages.report).1 = after;
            stages.keep(&mut answers, folder, notary)?;
        }
        save(stages.report.clone(), folder)
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
            model: &self.context.model,
            config: &self.config.eval,
            sets: &self.sets,
            judges: &self.context.judges,
            canary: self.context.canary.as_ref(),
            stop,
        };
        let evaluation = evaluator.evaluate(name, adapter, answers.as_mut(), observer)?;
        let share = self.config.trust.judge_failures;
        match evaluation::unjudged(&evaluation, &self.config.eval.judges, share) {
            Some((judge, what)) => Err(self.context.judges.failure(judge, &what).into()),
            None => Ok(Some(evaluation)),
        }
    }
}

fn save(mut report: Report, folder: &RunDir) -> Result<Report> {
    report.peak_memory = dry_run::resident().map(|resident| resident.peak);
    folder.write_json("report.json", &report)?;
    Ok(report)
}
