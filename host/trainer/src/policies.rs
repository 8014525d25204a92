//! The policies at work in a run: their settings, parameters, and state between steps.

use std::time::Duration;

use host_audit::journal::stand_in;
use host_contract::{
    Action, Assessment, Combiner, Guardrails, Needs, RunInfo, Sample, Signals, Standing,
};
use host_sandbox::{Call, Policy};
use serde::{Deserialize, Serialize};

use crate::config::OnFault;
use crate::error::Result;

/// A policy that has been configured, and calibrated if it wants to be.
pub struct ActivePolicy {
    pub policy: Policy,
    /// JSON.
    pub settings: String,
    pub run: RunInfo,
    pub needs: Needs,
    pub parameters: Vec<u8>,
}

/// Asks every policy, carries each one's state from step to step, and combines what
/// they say: the strictest wins, field by field (see [`Combiner`]).
pub struct PolicySet<'a> {
    slots: Vec<PolicySlot<'a>>,
    on_fault: OnFault,
    require: &'a Guardrails,
    combiner: Combiner,
}

struct PolicySlot<'a> {
    active: &'a ActivePolicy,
    state: Vec<u8>,
    faults_in_a_row: u64,
}

/// What a policy carries from step to step, for a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyState {
    /// Hexadecimal.
    pub state: String,
    pub faults_in_a_row: u64,
    /// Where several policies work together.
    #[serde(default)]
    pub standing: Standing,
}

/// What one policy was asked, and what it answered.
pub struct Answer {
    pub signals: Signals,
    /// The state it was given.
    pub state: Vec<u8>,
    /// After a fault, the strict one that stands in for it.
    pub assessment: Assessment,
    /// One line, if the policy failed.
    pub fault: Option<String>,
    pub fuel: u64,
    pub memory_bytes: u64,
    pub elapsed: Duration,
}

/// What all policies say of one step.
pub struct StepDecision {
    /// The strictest of all answers, field by field.
    pub assessment: Assessment,
    /// One per policy, in their order; up to the failed one if `failed` is set.
    pub answers: Vec<Answer>,
    /// A fault that ends the run: this step must not be applied.
    pub failed: Option<host_sandbox::Error>,
    /// Putting the signals together, and writing it all down.
    pub measuring: Duration,
    pub recording: Duration,
}

impl StepDecision {
    pub fn fuel(&self) -> u64 {
        self.answers.iter().map(|answer| answer.fuel).sum()
    }

    /// What the policies cost this step, from the signals to the journal.
    pub fn elapsed(&self) -> Duration {
        let calls: Duration = self.answers.iter().map(|answer| answer.elapsed).sum();
        self.measuring + calls + self.recording
    }

    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.answers.iter().filter_map(|answer| answer.fault.as_deref())
    }
}

impl<'a> PolicySet<'a> {
    pub fn new(policies: &'a [ActivePolicy], on_fault: OnFault, require: &'a Guardrails) -> Self {
        let slots = policies.iter().map(|active| PolicySlot {
            active,
            state: Vec::new(),
            faults_in_a_row: 0,
        });
        let combiner = Combiner { standing: vec![Standing::default(); policies.len()] };
        Self { slots: slots.collect(), on_fault, require, combiner }
    }

    /// `signals` holds those of each policy, in order. A policy that fails is
    /// replaced by the strictest assessment if the run allows that, and ends the run
    /// ([`StepDecision::failed`]) otherwise.
    ///
    /// # Errors
    /// What is no fault of a policy, such as arguments beyond their limit.
    pub fn assess(&mut self, signals: Vec<Signals>) -> Result<StepDecision> {
        let mut answers = Vec::with_capacity(self.slots.len());
        let mut failed = None;
        for (slot, signals) in self.slots.iter_mut().zip(signals) {
            let (answer, fatal) = slot.ask(signals, self.on_fault, self.require)?;
            answers.push(answer);
            failed = fatal;
            if failed.is_some() {
                break;
            }
        }
        let assessment = self.combine(&answers);
        Ok(StepDecision {
            assessment,
            answers,
            failed,
            measuring: Duration::ZERO,
            recording: Duration::ZERO,
        })
    }

    fn combine(&mut self, answers: &[Answer]) -> Assessment {
        let names: Vec<&str> = self.slots.iter().map(|slot| slot.active.policy.name()).collect();
        let all: Vec<&Assessment> = answers.iter().map(|answer| &answer.assessment).collect();
        let samples: &[Sample] = answers.first().map_or(&[], |first| &first.signals.samples);
        self.combiner.combine(&names, &all, samples)
    }

    /// What each policy carries to the next step.
    pub fn states(&self) -> Vec<PolicyState> {
        let slots = self.slots.iter().zip(&self.combiner.standing);
        let states = slots.map(|(slot, standing)| PolicyState {
            state: hex::encode(&slot.state),
            faults_in_a_row: slot.faults_in_a_row,
            standing: *standing,
        });
        states.collect()
    }

    /// Gives every policy back what it carried.
    ///
    /// # Errors
    /// One line, if these are of other policies.
    pub fn restore(&mut self, states: &[PolicyState]) -> Result<(), String> {
        if states.len() != self.slots.len() {
            return Err(format!(
                "holds the state of {} policies, and this run has {}",
                states.len(),
                self.slots.len()
            ));
        }
        for (slot, saved) in self.slots.iter_mut().zip(states) {
            slot.state = hex::decode(&saved.state)
                .map_err(|error| format!("holds a policy's state that is no hex ({error})"))?;
            slot.faults_in_a_row = saved.faults_in_a_row;
        }
        self.combiner.standing = states.iter().map(|saved| saved.standing).collect();
        Ok(())
    }
}

impl PolicySlot<'_> {
    /// The answer, and the error if it ends the run.
    fn ask(
        &mut self,
        signals: Signals,
        on_fault: OnFault,
        require: &Guardrails,
    ) -> Result<(Answer, Option<host_sandbox::Error>)> {
        let active = self.active;
        let assessed = active.policy.assess(Call {
            settings: &active.settings,
            run: &active.run,
            parameters: &active.parameters,
            state: &self.state,
            signals: &signals,
            needs: &active.needs,
        });
        let assessed = assessed.and_then(|assessed| {
            active.policy.require(require, &assessed.assessment, &signals)?;
            Ok(assessed)
        });
        let state = self.state.clone();
        let error = match assessed {
            Ok(assessed) => {
                self.faults_in_a_row = 0;
                self.state.clone_from(&assessed.assessment.state);
                let answer = Answer {
                    signals,
                    state,
                    assessment: assessed.assessment,
                    fault: None,
                    fuel: assessed.fuel,
                    memory_bytes: assessed.memory_bytes,
                    elapsed: assessed.time,
                };
                return Ok((answer, None));
            }
            Err(error) if error.is_fault() => error,
            Err(error) => return Err(error.into()),
        };
        self.faults_in_a_row += 1;
        let message = error.to_string();
        let answer = Answer {
            assessment: stand_in(signals.samples.len(), &message, &state),
            signals,
            state,
            fault: Some(message),
            fuel: 0,
            memory_bytes: 0,
            elapsed: Duration::ZERO,
        };
        let fatal = self.faults_in_a_row > on_fault.strict_steps();
        Ok((answer, fatal.then_some(error)))
    }
}

/// Whether the parameters move at this step.
pub fn applies(action: Action) -> bool {
    action == Action::Update
}
