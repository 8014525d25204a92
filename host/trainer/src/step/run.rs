//! The training loop, from batch to journal, on one page:
//!
//! ```text
//! batch -> forward -> signals -> policy.assess -> objective -> backward
//!       -> optimizer -> journal -> checkpoint
//! ```
//!
//! One assessment per policy and optimizer step, over all its samples, before any
//! gradient. Of several [`ranks`](crate::ranks) each goes through this loop with its share
//! of the samples: signals come together at the root, which asks the policies, tells the
//! others what they ask for, and keeps the records; gradients are added up, so that all
//! make the same update.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use host_contract::Action;

use crate::error::Result;
use crate::policies::{StepDecision, applies};
use crate::records::RunRecorder;
use crate::records::checkpoint::Saved;
use crate::records::observer::Observer;
use crate::records::{Ending, StepRecord, Totals, add_step};
use crate::step::context::TrainingSpec;
use crate::step::evaluations::{Best, conclude};
use crate::step::micro_batch::MicroBatch;
use crate::step::state::State;

/// A training that is over.
pub struct Ended {
    pub totals: Totals,
    /// The adapter of the best evaluation, where it is kept; the root alone has it.
    pub best: Option<Best>,
}

/// Trains from the start, or from what `saved` holds.
pub fn run(
    spec: &TrainingSpec,
    saved: Option<Saved>,
    mut recorder: Option<RunRecorder>,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Ended> {
    let mut state = State::new(spec)?;
    let mut totals = match saved {
        Some(saved) => state.restore(saved)?,
        None => Totals::default(),
    };
    let (ranks, total) = (spec.ranks, spec.context.plan.total_steps());
    // What the run has not done when it was left; at the start, the reference.
    let evaluated = state.evaluate(&mut totals, &mut recorder, observer, stop)?;
    conclude(evaluated, &mut totals, total)?;
    while totals.ending == Ending::Finished && totals.steps < total {
        let step = totals.steps;
        let started = Instant::now();
        let batch = state.next_batch(step)?;
        let samples = host_data::borrowed(&batch);
        let shard = ranks.shard(&samples, spec.config.micro_batch());
        let mine = &samples[shard.samples.clone()];
        let micro = MicroBatch::divide(mine, shard.micro_batch, state.tells_apart());
        let micro: Vec<_> = micro.into_iter().map(|one| one.noisy(&spec.noise, step)).collect();
        let mut measured = state.measure(step, &samples, shard, &micro)?;
        let mut decision = state.assess(&measured)?;
        if let (Some(decision), Some(recorder)) = (&mut decision, &mut recorder) {
            // Before anything acts on it, so that a fault is on record as well.
            recorder.records.assessed(step, decision)?;
            if let Some(fault) = decision.failed.take() {
                return Err(fault.into());
            }
        }
        let asked = state.broadcast(decision.as_ref())?;
        state.steer(asked.as_ref())?;
        let action = asked.as_ref().map_or(Action::Update, |asked| asked.action);

        let mut record = StepRecord::new(step, total, &measured.context.samples, decision.as_ref());
        if applies(action) {
            let weights = state.loss_weights(&mut measured, &micro, asked.as_ref())?;
            state.backward(&mut measured, &micro, &weights, asked.as_ref(), &mut record)?;
            if state.is_finite(&mut record) {
                state.update(asked.as_ref(), &mut record)?;
            }
        } else if action == Action::RollBack {
            state.roll_back()?;
        }
        state.set_alignment(asked.as_ref());
        let tokens = samples.iter().map(|sample| sample.tokens.len()).sum();
        record.close(started.elapsed(), tokens);
        let outcome = record.outcome(action);
        if let Some(recorder) = &mut recorder {
            recorder.records.step(&record, outcome)?;
        }
        add_step(&mut totals, &record);
        state.loss_trend.add(&record, &mut totals);
        totals.steering = state.steering();
        for fault in decision.iter().flat_map(StepDecision::faults) {
            observer.notice(&format!("{fault}; this step is held to the reference"));
        }
        observer.step(&record);
        state.previous = Some(outcome);

        let stops = ranks.step_end(step, &state.parameters, stop.load(Ordering::Relaxed))?;
        let mut concluded = Ok(());
        if action != Action::Stop && stops && step + 1 < total {
            totals.ending = Ending::Interrupted;
        } else {
            if action == Action::Stop {
                totals.ending = Ending::Stopped;
            }
            let evaluated = state.evaluate(&mut totals, &mut recorder, observer, stop)?;
            concluded = conclude(evaluated, &mut totals, total);
        }
        let over = totals.ending != Ending::Finished || step + 1 == total;
        if let Some(recorder) = &mut recorder
            && (over || record.not_applied.is_some() || recorder.checkpoints.due(step + 1))
        {
            let saved = state.save(&totals, recorder)?;
            state.check_streak(&record, saved)?;
        }
        concluded?;
        if let Some(problem) = &record.not_applied {
            observer.notice(&format!("step {step}: {problem}; it was not applied"));
        }
    }
    state.close()?;
    Ok(Ended { totals, best: state.best })
}

#[cfg(test)]
#[path = "run_evaluations_tests.rs"]
mod evaluations_tests;
#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
