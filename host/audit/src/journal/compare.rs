//! What another policy would have done on the same run, from what was recorded.
//!
//! The run itself is the recorded one: a policy that steers differently would have met
//! another model from the second step on. So this compares judgements, not outcomes.

use serde::Serialize;
use serde_json::Value;

use super::{
    entry::{Answer, Entry, Record},
    reader::Journal,
};
use host_contract::{Action, Assessment, Invalid, Journalled, Missing, Needs, SIGNALS, Signals};
use host_sandbox::{Assessed, Call, CallSite, Error, Function, Policy, Result};

/// Both policies, side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub recorded: String,
    pub other: String,
    pub steps: Vec<StepComparison>,
}

/// Means over the samples of a step.
#[derive(Debug, Clone, Serialize)]
pub struct StepComparison {
    pub step: u64,
    pub recorded: Option<Summary>,
    pub other: Option<Summary>,
    /// Set if the other policy failed at this step.
    pub fault: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub risk: f64,
    pub highest_risk: f64,
    pub task_weight: f64,
    pub kl_weight: f64,
    pub learning_rate_scale: f64,
    pub action: Action,
}

impl Summary {
    fn new(assessment: &Assessment) -> Self {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let r = &assessment.regularization;
        Self {
            risk: mean(&assessment.risk),
            highest_risk: assessment.risk.iter().copied().fold(0.0, f64::max),
            task_weight: mean(&r.task_weight),
            kl_weight: mean(&r.kl_weight),
            learning_rate_scale: r.learning_rate_scale,
            action: r.action,
        }
    }
}

impl Journal {
    /// What another policy makes of every step. `calibrated` are parameters and needs of
    /// a calibration on the same model, if the policy needs one.
    ///
    /// # Errors
    /// Settings that the policy refuses, and needs that the run did not record. A fault
    /// in a step is part of the result.
    pub fn compare(
        &self,
        other: &Policy,
        settings: &str,
        calibrated: Option<(&[u8], &Needs)>,
    ) -> Result<Comparison> {
        let mut steps: Vec<StepComparison> = Vec::new();
        self.ask(other, settings, calibrated, |call, recorded, answer| {
            let step = call.signals.step;
            let (other, fault) = match answer {
                Ok(assessed) => (Some(Summary::new(&assessed.assessment)), None),
                Err(e) => (None, Some(e.to_string())),
            };
            steps.push(StepComparison { step, recorded, other, fault });
        })?;
        let names = self.run.policies.iter().map(|slot| slot.name.as_str());
        Ok(Comparison {
            recorded: names.collect::<Vec<_>>().join("+"),
            other: other.name().to_owned(),
            steps,
        })
    }

    /// Asks a policy every recorded step, its own state going from one to the next, and
    /// tells what it was asked, what was done at the step, and what the policy says.
    ///
    /// # Errors
    /// As for [`Journal::compare`].
    pub fn ask(
        &self,
        other: &Policy,
        settings: &str,
        calibrated: Option<(&[u8], &Needs)>,
        mut told: impl FnMut(Call<'_>, Option<Summary>, Result<Assessed>),
    ) -> Result<()> {
        let run = &self.run.run;
        let configured = other.configure(settings, run)?;
        let (parameters, needs) = calibrated.unwrap_or((&[], &configured));
        let unmet = |field: &str, problem: String| Error::Unmet {
            at: Box::new(CallSite {
                policy: Some(other.name().to_owned()),
                file: other.path().to_owned(),
                function: Function::Configure,
                step: None,
            }),
            invalid: Invalid::unmet(field, problem),
        };
        if needs.calibration && calibrated.is_none() {
            let problem =
                "is set; give --calibration FILE, made by host calibrate on the same model";
            return Err(unmet("needs.calibration", problem.into()));
        }
        let mut state = Vec::new();
        for recorded in self.by_step() {
            let signals = self.gather(&recorded.records, needs);
            let signals = signals.map_err(|e| match e {
                NotThere::Missing(Missing { field, what }) => {
                    unmet(field, format!("asks for {what}, which this run did not record"))
                }
                NotThere::Broken(e) => e,
            })?;
            let call = Call { settings, run, parameters, state: &state, signals: &signals, needs };
            let answer = other.assess(call);
            let next = answer.as_ref().ok().map(|assessed| assessed.assessment.state.clone());
            told(call, recorded.effect(), answer);
            if let Some(next) = next {
                state = next;
            }
        }
        Ok(())
    }

    /// Every step, and what was done there as far as the records say it.
    pub fn decided(&self) -> Vec<(u64, Option<Summary>)> {
        let steps = self.by_step();
        let steps =
            steps.iter().filter_map(|step| Some((step.records.first()?.step, step.effect())));
        steps.collect()
    }

    /// Steps that were assessed.
    pub fn steps(&self) -> u64 {
        self.by_step().len() as u64
    }

    pub(super) fn by_step(&self) -> Vec<Step<'_>> {
        let mut steps: Vec<Step<'_>> = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Assessment(record) => match steps.last_mut() {
                    Some(step) if step.records[0].step == record.step => step.records.push(record),
                    _ => steps.push(Step { records: vec![record], combined: None }),
                },
                Entry::Combined { assessment, .. } => {
                    if let Some(step) = steps.last_mut() {
                        step.combined = Some(assessment);
                    }
                }
                Entry::Run(_) | Entry::End { .. } => {}
            }
        }
        steps
    }

    /// Signals as another policy needs them, from all that was recorded for the step.
    fn gather(&self, records: &[&Record], needs: &Needs) -> Result<Signals, NotThere> {
        let restored = records.iter().map(|record| self.restore(record));
        let restored = restored.collect::<Result<Vec<_>>>().map_err(NotThere::Broken)?;
        let recorded: Vec<&Needs> = self.run.policies.iter().map(|one| &one.needs).collect();
        let from = Journalled { needs: &recorded, signals: &restored };
        let mut signals = restored.first().map(Signals::unmeasured).unwrap_or_default();
        for signal in SIGNALS {
            signal.offer(needs, from, &mut signals).map_err(NotThere::Missing)?;
        }
        Ok(signals)
    }

    /// The signals of a record, as the policy got them.
    pub(super) fn restore(&self, record: &Record) -> Result<Signals> {
        record.signals.restore(&self.blobs).map_err(|problem| self.blobs.problem(problem))
    }
}

/// What was recorded of one step.
pub(super) struct Step<'a> {
    /// One per policy; there is at least one.
    pub records: Vec<&'a Record>,
    combined: Option<&'a Value>,
}

impl Step<'_> {
    fn effect(&self) -> Option<Summary> {
        Some(Summary::new(&self.assessment()?))
    }

    /// What the step did: the combination, or the only policy's assessment.
    pub fn assessment(&self) -> Option<Assessment> {
        let alone = || match &self.records.first()?.answer {
            Answer::Assessment { assessment, .. } => Some(assessment),
            Answer::Fault { stands_in, .. } => stands_in.as_ref(),
        };
        let value = self.combined.or_else(alone)?;
        super::entry::without_state(value).ok()
    }
}

/// Why another policy can't be asked about a step.
enum NotThere {
    /// It needs something that was not recorded.
    Missing(Missing),
    /// What was recorded can't be read.
    Broken(Error),
}
