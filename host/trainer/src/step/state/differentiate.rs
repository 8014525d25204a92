//! The gradient of a step: of its samples, and of safety anchors.

use candle_core::{DType, Tensor};
use host_contract::{Divergence, Regularization};
use host_data::{Origin, Sample};
use host_model::decoder::{Forward, TokenSubset};

use super::{Measured, State};
use crate::actuators::gradient_projection;
use crate::actuators::objective::{self, TokenWeights};
use crate::error::Result;
use crate::parameters::add;
use crate::records::StepRecord;
use crate::signals::reference;
use crate::step::anchors::Visit;
use crate::step::context::TrainingSpec;
use crate::step::micro_batch::{MicroBatch, scalar};

/// What the gradient is of.
pub(super) struct Descent<'d> {
    /// Of this rank's answer tokens.
    pub weights: &'d TokenWeights,
    /// The KL is over these tokens, if there are any.
    pub subset: Option<&'d TokenSubset>,
    /// The weight of anchors that go through the model with the samples.
    pub anchors: Option<f64>,
}

/// A micro-batch with what its gradient takes.
struct Part<'p, 'm> {
    batch: &'p MicroBatch<'m>,
    weights: &'p TokenWeights,
    teacher: Option<&'p Tensor>,
}

impl State<'_> {
    /// Forward and backward over all micro-batches, and what holds the model beside them;
    /// leaves the sum over all ranks in `gradient`.
    pub fn backward(
        &mut self,
        measured: &mut Measured,
        micro: &[MicroBatch],
        weights: &TokenWeights,
        asked: Option<&Regularization>,
        record: &mut StepRecord,
    ) -> Result<()> {
        let mut anchors =
            asked.and_then(|asked| asked.anchor_weight).filter(|weight| *weight > 0.0);
        match measured.plain.take() {
            // The gradient of a trial is that of this step.
            Some(plain)
                if objective::is_plain(asked, &measured.context.offsets, self.spec.config.loss) =>
            {
                record.take_losses(plain);
            }
            _ => {
                let over_set = |asked: &Regularization| asked.divergence == Divergence::TokenSetKl;
                let subset = self.spec.context.token_set.as_ref();
                let subset = subset.filter(|_| asked.is_some_and(over_set));
                // A gradient that is told apart is of samples alone.
                let with = if self.tells_apart() { None } else { anchors.take() };
                let descent = Descent { weights, subset, anchors: with };
                self.differentiate(measured, micro, &descent, record)?;
            }
        }
        self.keep_direction();
        self.join(asked);
        if let Some(asked) = asked {
            let step = measured.context.step;
            let mut added = match anchors {
                Some(weight) => self.visit(step, weight, record)?,
                None => 0.0,
            };
            added += self.hold(asked)?;
            self.act(|actuator, at| added += actuator.gradient(asked, at));
            self.layout.hold_gradient(&mut self.gradient);
            record.loss += added;
        }
        if self.spec.ranks.is_root() {
            self.check_reach(measured.context.step, record, weights)
        } else {
            Ok(())
        }
    }

    /// The gradient, that of alignment samples by itself if it is told apart.
    pub(super) fn differentiate(
        &mut self,
        measured: &mut Measured,
        micro: &[MicroBatch],
        descent: &Descent<'_>,
        record: &mut StepRecord,
    ) -> Result<()> {
        let TrainingSpec { ranks, .. } = *self.spec;
        let step = measured.context.step;
        self.gradient.fill(0.0);
        self.alignment.iter_mut().for_each(|sum| sum.fill(0.0));
        let anchors = self.anchors.as_ref().zip(descent.anchors);
        let mut visit = anchors.map(|(anchors, weight)| anchors.next(self.spec, weight));
        let (mut sample, mut token) = (0, 0);
        for (index, batch) in micro.iter().enumerate() {
            let tokens = batch.labels().len();
            let weights = descent.weights.slice(token..token + tokens);
            let teacher = if weights.needs_reference() {
                Some(reference::stack(&measured.known[sample..sample + batch.members.len()])?)
            } else {
                None
            };
            let part = Part { batch, weights: &weights, teacher: teacher.as_ref() };
            let last = index + 1 == micro.len();
            let beside = visit.as_mut().filter(|_| last);
            self.accumulate(&part, descent, beside, measured.forward.take(), step, record)?;
            sample += batch.members.len();
            token += tokens;
        }
        if let (Some(anchors), Some(visit)) = (&mut self.anchors, &mut visit) {
            // Those that no micro-batch took.
            record.loss +=
                anchors.pass(visit, self.spec, &self.layout, step, &mut self.gradient)?;
        }
        record.loss += descent.weights.constant;
        ranks.sum(&mut self.gradient)?;
        if let Some(alignment) = &mut self.alignment {
            ranks.sum(alignment)?;
        }
        record.sum(ranks)?;
        self.close_visit(visit, step, record)
    }

    /// Adds the gradient of one micro-batch, and of the anchors beside it if it takes them.
    fn accumulate(
        &mut self,
        part: &Part<'_, '_>,
        descent: &Descent<'_>,
        beside: Option<&mut Visit<'_>>,
        forward: Option<Forward>,
        step: u64,
        record: &mut StepRecord,
    ) -> Result<()> {
        let TrainingSpec { context, adapter, .. } = *self.spec;
        let decoder = &context.model.decoder;
        let Part { batch, weights, teacher } = *part;
        let own = batch.labels().len();
        let mut beside = beside.filter(|visit| forward.is_none() && visit.fits_beside(batch));
        let anchors = beside.as_mut().map_or(Vec::new(), |visit| visit.take());
        let members: Vec<&Sample> = batch.members.iter().chain(&anchors).copied().collect();
        let joined = (!anchors.is_empty()).then(|| MicroBatch::new(&members));
        let pass = joined.as_ref().unwrap_or(batch);
        let forward = match forward {
            Some(forward) => forward,
            None => pass.forward(decoder, adapter, &[])?,
        };
        let hidden = pass.answer_rows(&forward)?;
        let head =
            batch.head(decoder, &hidden.narrow(0, 0, own)?, teacher, weights, descent.subset)?;
        let mut loss = head.loss.to_dtype(DType::F32)?;
        record.add(scalar(&loss)?, &head.task, teacher.map(|_| &head.kl[..]));
        if let (Some(visit), Some(hold)) = (beside, &mut self.anchors) {
            let anchors = MicroBatch::new(&anchors);
            let hidden = hidden.narrow(0, own, anchors.labels().len())?;
            let held = hold.loss(visit, decoder, &anchors, &hidden)?;
            record.loss += scalar(&held)?;
            loss = (loss + held.to_dtype(DType::F32)?)?;
        }
        let sum = match (&mut self.alignment, batch.origin()) {
            (Some(alignment), Origin::Alignment) => alignment,
            _ => &mut self.gradient,
        };
        self.layout.accumulate(&loss.backward()?, sum, step)
    }

    /// Anchors in a pass of their own, of which all ranks have a share; returns their loss.
    fn visit(&mut self, step: u64, weight: f64, record: &mut StepRecord) -> Result<f64> {
        let Some(anchors) = &mut self.anchors else {
            return Ok(0.0);
        };
        let ranks = self.spec.ranks;
        let mut visit = anchors.next(self.spec, weight);
        let mut sum = vec![0.0; self.layout.len()];
        let loss = anchors.pass(&mut visit, self.spec, &self.layout, step, &mut sum)?;
        ranks.sum(&mut sum)?;
        add(&mut self.gradient, &sum);
        let [loss] = ranks.totals([loss])?;
        self.close_visit(Some(visit), step, record)?;
        Ok(loss)
    }

    fn close_visit(
        &mut self,
        visit: Option<Visit<'_>>,
        step: u64,
        record: &mut StepRecord,
    ) -> Result<()> {
        if let (Some(anchors), Some(visit)) = (&mut self.anchors, visit) {
            let tokens = anchors.close(visit, self.spec.ranks, step)?;
            record.visited(anchors.seen.as_ref(), tokens);
        }
        Ok(())
    }

    /// One gradient of the two, if they were told apart.
    fn join(&mut self, asked: Option<&Regularization>) {
        let Some(alignment) = &self.alignment else {
            return;
        };
        self.conflict = gradient_projection::measure(&self.gradient, alignment);
        if let (Some(conflict), Some(true)) =
            (&self.conflict, asked.map(|asked| asked.gradient_projection))
        {
            gradient_projection::project(&mut self.gradient, alignment, conflict);
        }
        add(&mut self.gradient, alignment);
    }
}
