//! A step before the policies speak, and what they say.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use host_contract::Regularization;
use host_data::Sample;
use host_model::decoder::Forward;

use super::State;
use crate::error::Result;
use crate::policies::StepDecision;
use crate::ranks::Shard;
use crate::records::StepRecord;
use crate::signals::reference::ReferenceOutputs;
use crate::signals::{ModelReadout, StepContext};
use crate::step::micro_batch::MicroBatch;

/// A step before the policy speaks: all of it, and what this rank's share of its samples
/// shows.
pub struct Measured<'s> {
    pub context: StepContext<'s>,
    pub(super) shard: Shard,
    /// Of the share's answer tokens, in order.
    pub(super) labels: Vec<u32>,
    pub(super) known: Vec<Arc<ReferenceOutputs>>,
    pub(super) current: ModelReadout,
    /// The training forward, if signals had to be read off it already.
    pub(super) forward: Option<Forward>,
    /// What the record says of plain fine-tuning, if its gradient was computed for trials
    /// and is still there.
    pub(super) plain: Option<StepRecord>,
}

impl<'s> Measured<'s> {
    /// The samples of this rank's share.
    pub(super) fn mine(&self) -> &[&'s Sample] {
        &self.context.samples[self.shard.samples.clone()]
    }

    /// Their answer tokens, among those of the step.
    pub(super) fn tokens(&self) -> Range<usize> {
        let Range { start, end } = self.shard.samples;
        self.context.offsets[start] as usize..self.context.offsets[end] as usize
    }

    /// The first answer token of each sample of the share, and the total.
    pub(super) fn offsets(&self) -> Vec<u32> {
        let Range { start, end } = self.shard.samples;
        let offsets = &self.context.offsets[start..=end];
        offsets.iter().map(|offset| offset - offsets[0]).collect()
    }
}

impl State<'_> {
    /// Gathers what the policy's signals need: the reference's view of the samples,
    /// and the current model's. With one micro-batch the latter is the training
    /// forward itself; with more it costs one extra forward without gradient.
    pub fn measure<'s>(
        &mut self,
        step: u64,
        samples: &[&'s Sample],
        shard: Shard,
        micro: &[MicroBatch],
    ) -> Result<Measured<'s>> {
        let labels = micro.iter().flat_map(super::super::micro_batch::MicroBatch::labels);
        let rate = self.schedule.at(step);
        let mut measured = Measured {
            context: StepContext::new(step, rate, samples, self.previous),
            shard,
            labels: labels.copied().collect(),
            known: Vec::new(),
            current: ModelReadout::default(),
            forward: None,
            plain: None,
        };
        measured.context.gradient_conflict = self.conflict.take();
        measured.context.anchors = self.anchors.as_ref().and_then(|anchors| anchors.seen.clone());
        let Some(sensors) = &self.sensors else {
            return Ok(measured);
        };
        if sensors.needs_reference() {
            measured.known = self.reference.of(measured.mine())?;
        }
        if sensors.needs_current() {
            for batch in micro {
                let forward = batch.forward(
                    &self.spec.context.model.decoder,
                    self.spec.adapter,
                    sensors.current_taps(),
                )?;
                let rows = || batch.answer_rows(&forward);
                let labels = batch.labels();
                sensors.read(&forward, batch.members, labels, rows, &mut measured.current)?;
                measured.forward = (micro.len() == 1).then_some(forward);
            }
        }
        self.agree(&mut measured, micro)?;
        self.try_updates(&mut measured, micro)?;
        Ok(measured)
    }

    /// Brings all ranks' shares together and asks the policies, which the root does.
    pub fn assess(&mut self, measured: &Measured) -> Result<Option<StepDecision>> {
        let Some(sensors) = &self.sensors else {
            return Ok(None);
        };
        let started = Instant::now();
        let reference = sensors.recall(&measured.known, &measured.labels)?;
        let recalling = started.elapsed();
        let views = sensors.gather(&reference, &measured.current, self.spec.ranks)?;
        let Some(policy_set) = &mut self.policy_set else {
            return Ok(None);
        };
        let started = Instant::now();
        let signals = sensors.signals(&measured.context, views, self.steered.as_ref())?;
        let measuring = recalling + started.elapsed();
        let mut decision = policy_set.assess(signals)?;
        decision.measuring = measuring;
        Ok(Some(decision))
    }

    /// What the policies ask of all ranks.
    pub fn broadcast(&self, decision: Option<&StepDecision>) -> Result<Option<Regularization>> {
        if self.spec.needs.is_empty() {
            return Ok(None);
        }
        let asked = decision.map(|decision| &decision.assessment.regularization);
        self.spec.ranks.from_root(|| Ok(asked.cloned()))
    }
}
