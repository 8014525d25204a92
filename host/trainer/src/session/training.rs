//! One training of a run: an adapter, its records and its checkpoints; from the start or
//! from where it was left.

use std::sync::atomic::AtomicBool;

use host_audit::journal::{Identity, JournalWriter, Mark, Mode, Start};
use host_audit::seal::{JournalHead, Notary};
use host_contract::Needs;
use host_eval::evaluation::Examination;
use host_eval::report::Trained;
use host_judges::JudgePrefetcher;
use host_model::lora::Lora;
use host_model::steering::Origin;
use host_sandbox::Signer;

use crate::config::RunConfig;
use crate::error::Result;
use crate::parameters::Layout;
use crate::policies::ActivePolicy;
use crate::ranks::Ranks;
use crate::records::RunRecorder;
use crate::records::checkpoint::{Checkpoints, Saved};
use crate::records::observer::Observer;
use crate::records::run_dir::{Records, RunDir};
use crate::records::{Ending, Totals};
use crate::session::follow;
use crate::session::prepare::first_adapter;
use crate::step::evaluations::{Best, Evaluations};
use crate::step::{Ended, RunContext, TrainingSpec, run};

/// Where the adapter of the last step lies, if the result is another one.
pub const LAST_ADAPTER: &str = "adapter-last";
pub const EVALUATIONS: &str = "evaluations.jsonl";

/// One training of a run, on the root.
pub struct Training<'a> {
    pub config: &'a RunConfig,
    pub context: &'a RunContext,
    /// Without any it trains plainly.
    pub policies: &'a [ActivePolicy],
    /// Signs the journal and the checkpoints; there if the run has policies.
    pub notary: Option<Notary<'a>>,
    /// What the run is made of.
    pub identity: &'a Identity,
    /// Which training of the run it is.
    pub arm: &'a str,
    pub folder: &'a RunDir,
    pub ranks: &'a Ranks,
    /// What is asked between the steps, if there are evaluations.
    pub examination: Option<&'a Examination>,
}

impl<'a> Training<'a> {
    /// Trains an adapter from the run's seed, or goes on with one, and saves it in the
    /// folder.
    pub fn run(
        &self,
        title: &str,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<(Trained, Lora, Option<JournalHead>)> {
        let config = self.config;
        let adapter = first_adapter(config, &self.context.model)?;
        let require = config.trust.guardrails()?;
        let needs: Vec<Needs> = self.policies.iter().map(|one| one.needs.clone()).collect();
        let spec = TrainingSpec {
            context: self.context,
            config: &config.train,
            noise: config.noise(),
            adapter: &adapter,
            needs: &needs,
            policies: self.policies,
            on_fault: config.trust.on_fault(),
            require: &require,
            ranks: self.ranks,
            evaluations: Evaluations::of(config, self.examination)?,
        };
        observer.stage(title, Some(self.context.plan.total_steps()));
        let mut checkpoints = self.checkpoints();
        let (mut records, saved) = self.begin(&checkpoints, observer)?;
        follow::begin(&spec, saved.as_ref())?;
        let recorder = RunRecorder { records: &mut records, checkpoints: &mut checkpoints };
        let ahead = JudgePrefetcher {
            judges: &self.context.judges,
            needs: &needs,
            plan: &self.context.plan,
            tokenizer: &self.context.model.tokenizer,
        };
        let first = saved.as_ref().map_or(0, |saved| saved.progress.step);
        let result = ahead.of(first, || run(&spec, saved, Some(recorder), observer, stop));
        let ending = result.as_ref().map_or("failed", |ended| ended.totals.ending.name());
        // The run's own error comes first: on a full disk both fail.
        let ended = records.end(ending);
        let Ended { mut totals, best } = result?;
        ended?;
        for (name, tally) in &mut totals.judges {
            let problem = self.context.judges.problem(name).filter(|_| tally.unscored() > 0);
            tally.problem = tally.problem.take().or(problem);
        }
        if records.unrecorded() > 0 && config.journal.mode == Mode::Full {
            let notice = format!(
                "the journal had no room for the tensors of {} assessments, which can't be \
                 replayed; raise journal.budget_mib",
                records.unrecorded()
            );
            observer.notice(&notice);
        }
        self.save_adapter(&adapter, &mut totals, best, observer)?;
        self.save_steering(&totals)?;
        let total = self.context.plan.total_steps();
        Ok((Trained { totals, total }, adapter, records.head()))
    }

    /// The result: the adapter of the last step, or of the best evaluation once the training is
    /// over.
    fn save_adapter(
        &self,
        adapter: &Lora,
        totals: &mut Totals,
        best: Option<Best>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let model = &self.context.model;
        let save = |name: &str| -> Result<()> {
            let folder = self.folder.child(name)?;
            Ok(adapter.save_peft(folder.path(), &model.config, model.base())?)
        };
        self.folder.remove(LAST_ADAPTER)?;
        let over = totals.ending != Ending::Interrupted;
        if let Some(selection) = totals.evaluations.as_mut().filter(|_| over) {
            selection.keep(totals.steps, best.is_some());
            let kept = selection.kept.as_ref().map(|kept| kept.step);
            if let (Some(kept), true) = (&selection.kept, best.is_some()) {
                observer.notice(&format!("the adapter is of step {}: {}", kept.step, kept.why));
            }
            if let Some(best) = best.filter(|_| kept != Some(totals.steps)) {
                save(LAST_ADAPTER)?;
                Layout::new(adapter).write(&best.parameters)?;
                totals.steering = best.steering;
            }
        }
        save("adapter")
    }

    /// Those of this training, signed if there are policies.
    pub fn checkpoints(&self) -> Checkpoints<'a> {
        Checkpoints::new(self.folder, &self.config.checkpoints).signed_by(self.notary, self.arm)
    }

    /// The vector that the policies left for the use of the model, scaled, if they did.
    fn save_steering(&self, totals: &Totals) -> Result<()> {
        let name = "steering.safetensors";
        let in_force = totals.steering.filter(|in_force| !in_force.reference);
        let added = match (&self.context.steering, in_force) {
            (Some(vectors), Some(in_force)) => vectors.added(&in_force)?,
            _ => None,
        };
        let Some(added) = added else {
            return self.folder.remove(name);
        };
        let origin = Origin {
            model: Some(self.context.model.digest.clone()),
            about: Some("what the policies of a run allow, its coefficient included".into()),
        };
        Ok(added.save(&self.folder.file(name), &origin)?)
    }

    /// The adapter of a training that is over.
    pub fn adapter(&self) -> Result<Lora> {
        Ok(Lora::load_peft(
            &self.folder.file("adapter"),
            &self.context.model.config,
            self.context.model.decoder.device(),
        )?)
    }

    /// Records that go on from the newest checkpoint that is whole, with what it holds;
    /// without one, new records.
    fn begin(
        &self,
        checkpoints: &Checkpoints,
        observer: &mut dyn Observer,
    ) -> Result<(Records<'a>, Option<Saved>)> {
        checkpoints.sweep();
        let stored = checkpoints.newest_first();
        for one in &stored {
            let saved = match checkpoints.read(one) {
                Ok(saved) => saved,
                Err(error) => {
                    observer.notice(&format!("{error}; the checkpoint is set aside"));
                    one.set_aside();
                    continue;
                }
            };
            let mark = &saved.progress.records;
            let journal = self.journal(mark.journal.as_ref())?;
            let mut records = self.folder.records_from(mark, saved.progress.previous, journal)?;
            self.keep_evaluations(&mut records, mark.evaluations_bytes)?;
            let (step, total) = (saved.progress.step, self.context.plan.total_steps());
            observer
                .notice(&format!("going on from {}, step {step} of {total}", one.path.display()));
            observer.advance(step);
            return Ok((records, Some(saved)));
        }
        if !stored.is_empty() {
            observer.notice("no checkpoint is whole; the training begins again at step 0");
        }
        // Of a process that was killed before its first checkpoint.
        self.folder.remove("metrics.jsonl")?;
        self.folder.remove("journal")?;
        let mut records = self.folder.records(self.journal(None)?)?;
        self.keep_evaluations(&mut records, 0)?;
        Ok((records, None))
    }

    /// What lies behind so many bytes of it is cut off.
    fn keep_evaluations(&self, records: &mut Records, bytes: u64) -> Result<()> {
        if self.examination.is_some() {
            records.evaluated_in(self.folder.lines_from(EVALUATIONS, bytes)?);
        }
        Ok(())
    }

    /// A new journal, or the one that stands at `mark`.
    fn journal(&self, mark: Option<&Mark>) -> Result<Option<JournalWriter<&'a Signer>>> {
        let (Some(first), Some(notary)) = (self.policies.first(), self.notary) else {
            return Ok(None);
        };
        let config = &self.config.journal;
        let seats = self.policies.iter().map(|active| {
            let ActivePolicy { policy, settings, needs, parameters, .. } = active;
            (policy, settings.as_str(), needs, parameters.as_slice())
        });
        let start = Start {
            mode: config.mode,
            budget_bytes: config.budget_mib << 20,
            on_fault: self.config.trust.on_fault().to_string(),
            run: &first.run,
            require: self.config.trust.require.clone(),
            identity: self.identity,
            policies: seats.collect(),
        };
        let folder = self.folder.file("journal");
        let journal = match mark {
            None => JournalWriter::create(&folder, &start, notary.signer)?,
            Some(mark) => JournalWriter::resume(&folder, &start, mark, notary.signer)?,
        };
        Ok(Some(journal))
    }
}
