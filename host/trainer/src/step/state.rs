//! What changes from step to step, and the stages of a step that change it.

mod agreement;
mod checkpoint;
mod differentiate;
mod evaluate;
mod hold;
mod measure;
mod steer;
mod trial;
mod update;
mod weights;

use std::borrow::Cow;
use std::path::PathBuf;

use host_contract::{Actuators as Actuator, GradientConflict, Needs, Outcome, Regularization};
use host_data::{ExtraStream, Sample, Streams};

use crate::actuators::objective::TokenWeights;
use crate::actuators::stage::{Point, StepActuator};
use crate::actuators::steering::ActiveSteering;
use crate::actuators::{any_may, step_actuators};
use crate::error::{Error, Result};
use crate::parameters::Layout;
use crate::parameters::optimizer::AdamW;
use crate::parameters::schedule::Schedule;
use crate::policies::PolicySet;
use crate::records::{LossTrend, StepRecord};
use crate::signals::reference::Reference;
use crate::signals::sensors::Sensors;
use crate::step::anchors::AnchorHold;
use crate::step::context::TrainingSpec;
use crate::step::evaluations::Best;

pub use measure::Measured;

/// Steps in a row with a loss or gradient that is not finite, after which a run ends: one
/// may be bad data, three are a run that has come apart.
const NOT_FINITE_LIMIT: u64 = 3;

/// What changes from step to step.
pub struct State<'a> {
    pub(crate) spec: &'a TrainingSpec<'a>,
    pub(crate) layout: Layout,
    pub(crate) parameters: Vec<f32>,
    gradient: Vec<f32>,
    /// Of the alignment samples, if they are told apart; `gradient` is of the others then,
    /// until the two are joined.
    alignment: Option<Vec<f32>>,
    pub(crate) optimizer: AdamW,
    schedule: Schedule,
    reference: Reference<'a>,
    /// The reference as it teaches, where that is not the one that signals are read off.
    teacher: Option<Reference<'a>>,
    steered: Option<ActiveSteering<'a>>,
    sensors: Option<Sensors<'a>>,
    /// If a policy mixes task and alignment data.
    pub(crate) streams: Option<Streams<'a>>,
    /// If a policy may add alignment samples to the batch.
    pub(crate) extra: Option<ExtraStream<'a>>,
    pub(crate) policy_set: Option<PolicySet<'a>>,
    pub(crate) actuators: Vec<Box<dyn StepActuator>>,
    pub previous: Option<Outcome>,
    /// Of the last alignment gradient, empty before there was one; there if a policy compares
    /// samples with it.
    direction: Option<Vec<f32>>,
    /// If a policy visits safety anchors.
    pub(crate) anchors: Option<AnchorHold<'a>>,
    /// Of the step before.
    pub(crate) conflict: Option<GradientConflict>,
    /// Steps in a row that were not applied because a number was not finite.
    pub(crate) not_finite: u64,
    pub(crate) loss_trend: LossTrend,
    /// Steps behind the model when it was evaluated last.
    pub(crate) evaluated: Option<u64>,
    /// If the best adapter is kept; the root alone has it.
    pub(crate) best: Option<Best>,
}

/// Whether the gradients of task and alignment samples are told apart.
pub fn tells_apart(needs: &[Needs]) -> bool {
    any_may(needs, Actuator::GRADIENT_PROJECTION)
        || needs.iter().any(|needs| needs.gradient_conflict || needs.gradient_agreement)
}

/// Vectors as long as the parameters that a run comes to hold for its policies, beside the
/// parameters, the gradient and the optimizer.
pub fn vectors(needs: &[Needs]) -> usize {
    let tries = needs.iter().any(|needs| !needs.trial_scales.is_empty());
    // A trial has parameters, moments and a gradient of its own.
    let trial = usize::from(tries) * (2 + AdamW::MOMENTS);
    // The direction, and parameters that were moved along it.
    let agreement = 2 * usize::from(needs.iter().any(|needs| needs.gradient_agreement));
    // Where they can't be part of the gradient from the start.
    let anchors =
        (tries || tells_apart(needs)) && needs.iter().any(|needs| needs.anchors.is_some());
    let held: usize = step_actuators(needs, &[]).iter().map(|actuator| actuator.vectors()).sum();
    held + usize::from(tells_apart(needs)) + trial + agreement + usize::from(anchors)
}

impl<'a> State<'a> {
    pub fn new(spec: &'a TrainingSpec<'a>) -> Result<Self> {
        let config = spec.config;
        let layout = Layout::new(spec.adapter);
        let total = spec.context.plan.total_steps();
        let sensors = (!spec.needs.is_empty()).then(|| {
            Sensors::new(
                &spec.context.model.decoder,
                spec.adapter,
                spec.needs.iter().collect(),
                &spec.context.judges,
                &spec.context.model.tokenizer,
                spec.context.canary.as_ref(),
            )
        });
        let policy_set = (!spec.policies.is_empty())
            .then(|| PolicySet::new(spec.policies, spec.on_fault, spec.require));
        let may = |actuator| any_may(spec.needs, actuator).then_some(&spec.context.plan);
        let mut parameters = layout.read()?;
        if spec.adapter.half_is_held() {
            // Singular vectors are rounded as the processor rounds.
            spec.ranks.broadcast_values(&mut parameters)?;
            layout.write(&parameters)?;
        }
        Ok(Self {
            spec,
            gradient: vec![0.0; layout.len()],
            alignment: tells_apart(spec.needs).then(|| vec![0.0; layout.len()]),
            optimizer: AdamW::new(config.adamw(), layout.len()),
            schedule: Schedule {
                peak: config.learning_rate,
                warmup: (config.warmup * total as f64).round() as u64,
                total,
                floor: config.floor,
            },
            reference: steer::reference(spec, sensors.as_ref()),
            teacher: None,
            steered: spec.steering().map(ActiveSteering::new).transpose()?,
            sensors,
            streams: may(Actuator::ALIGNMENT_SHARE).and_then(Streams::new).map(|streams| {
                // One that doesn't mix is used to the mixture of the data.
                let mixes = |needs: &Needs| needs.actuators.contains(Actuator::ALIGNMENT_SHARE);
                if spec.needs.iter().all(mixes) { streams } else { streams.as_in_the_data() }
            }),
            extra: may(Actuator::ALIGNMENT_EXTRA).and_then(ExtraStream::new),
            policy_set,
            actuators: step_actuators(spec.needs, &parameters),
            direction: spec.needs.iter().any(|needs| needs.gradient_agreement).then(Vec::new),
            anchors: spec
                .context
                .anchors
                .as_ref()
                .filter(|_| !spec.needs.is_empty())
                .map(|all| AnchorHold::new(all, steer::anchors_reference(spec))),
            previous: None,
            conflict: None,
            not_finite: 0,
            loss_trend: LossTrend::default(),
            evaluated: None,
            best: None,
            parameters,
            layout,
        })
    }

    /// The samples of a step, those beyond its batch last. Those of one origin are together
    /// if gradients are told apart by it.
    ///
    /// # Errors
    /// If samples can't be read.
    pub fn next_batch(&mut self, step: u64) -> Result<Vec<Cow<'a, Sample>>> {
        let plan = &self.spec.context.plan;
        let mut samples = match &mut self.streams {
            Some(streams) => streams.next_batch(),
            None => plan.step(step),
        };
        if self.tells_apart() {
            samples.sort_by_key(|sample| sample.origin());
        }
        if let Some(extra) = &mut self.extra {
            samples.extend(extra.next_batch());
        }
        Ok(plan.samples().read_all(&samples)?)
    }

    pub fn tells_apart(&self) -> bool {
        self.alignment.is_some()
    }

    /// Whether the step can be applied; if not, the record says why.
    pub fn is_finite(&mut self, record: &mut StepRecord) -> bool {
        record.not_applied = if !record.loss.is_finite() {
            Some(format!("the loss is {}", record.loss))
        } else {
            let name = self.layout.first_not_finite(&self.gradient);
            name.map(|name| format!("the gradient of {name} is not finite"))
        };
        let finite = record.not_applied.is_none();
        self.not_finite = if finite { 0 } else { self.not_finite + 1 };
        finite
    }

    /// Ends a run that goes nowhere; its last good state is `saved`.
    pub fn check_streak(&self, record: &StepRecord, saved: PathBuf) -> Result<()> {
        match &record.not_applied {
            Some(problem) if self.not_finite >= NOT_FINITE_LIMIT => Err(Error::NotFinite {
                step: record.step,
                problem: problem.clone(),
                in_a_row: self.not_finite,
                checkpoint: saved,
            }),
            _ => Ok(()),
        }
    }

    /// At step 0 every part of the adapter must get a gradient, unless the policies let
    /// nothing be learned from this rank's share.
    fn check_reach(&self, step: u64, record: &StepRecord, weights: &TokenWeights) -> Result<()> {
        // The KL to the reference has no gradient where a run starts, at the reference.
        let by_token = weights.task.iter().any(|weight| *weight != 0.0);
        let learns = record.task_weight != 0.0 && by_token;
        match self.layout.first_dead_b(&self.gradient) {
            Some(name) if step == 0 && learns => Err(Error::Gradient {
                step,
                problem: format!("the gradient of {name} is zero everywhere"),
            }),
            _ => Ok(()),
        }
    }

    pub fn roll_back(&mut self) -> Result<()> {
        self.act(|actuator, at| actuator.roll_back(at));
        self.layout.write(&self.parameters)
    }

    /// One stage of every actuator, in their order.
    fn act(&mut self, mut stage: impl FnMut(&mut dyn StepActuator, &mut Point<'_>)) {
        let Self { actuators, layout, parameters, gradient, optimizer, .. } = self;
        let mut at = Point { layout, parameters, gradient, optimizer };
        for actuator in actuators {
            stage(actuator.as_mut(), &mut at);
        }
    }

    /// What the policies ask of the steps after this one.
    pub fn set_alignment(&mut self, asked: Option<&Regularization>) {
        let share = asked.and_then(|asked| asked.alignment_share);
        if let Some(streams) = &mut self.streams
            && streams.set_share(share.unwrap_or(streams.mix.share))
        {
            let parameters = &self.parameters;
            self.actuators.iter_mut().for_each(|actuator| actuator.share_changed(parameters));
        }
        let count = asked.and_then(|asked| asked.alignment_extra);
        if let (Some(stream), Some(count)) = (&mut self.extra, count) {
            stream.extra.count = count;
        }
    }

    /// A policy that averaged the parameters gets the average exported.
    pub fn close(&self) -> Result<()> {
        self.exported().map_or(Ok(()), |exported| self.layout.write(exported))
    }

    /// What the adapter of the run would be now, if that isn't what is trained.
    pub(super) fn exported(&self) -> Option<&[f32]> {
        self.actuators.iter().find_map(|actuator| actuator.exported())
    }
}

#[cfg(test)]
mod tests;
