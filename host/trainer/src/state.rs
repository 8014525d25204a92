//! What changes from step to step, and the stages of a step that change it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use host_model::decoder::Forward;
use host_policy::wit::{Actuators as Actuator, Needs, Outcome, Regularization};

use crate::actuators::Actuators;
use crate::advisor::{Advice, Advisor};
use crate::data::Sample;
use crate::error::{Error, Result};
use crate::micro_batch::MicroBatch;
use crate::objective::{self, TokenWeights};
use crate::optimizer::AdamW;
use crate::parameters::{Layout, norm};
use crate::ranks::Share;
use crate::records::StepRecord;
use crate::reference::{self, Known, Reference};
use crate::run::Setup;
use crate::schedule::Schedule;
use crate::sensors::{Sensors, Shown, StepContext, reference_log_probs};
use crate::steering::{InForce, Steered};

/// Steps in a row with a loss or gradient that is not finite, after which a run ends: one
/// may be bad data, three are a run that has come apart.
const NOT_FINITE_LIMIT: u64 = 3;

/// What changes from step to step.
pub struct State<'a> {
    pub(crate) setup: &'a Setup<'a>,
    pub(crate) layout: Layout,
    pub(crate) parameters: Vec<f32>,
    gradient: Vec<f32>,
    pub(crate) optimizer: AdamW,
    schedule: Schedule,
    reference: Reference<'a>,
    /// The reference as it teaches, where that is not the one that signals are read off.
    teacher: Option<Reference<'a>>,
    steered: Option<Steered<'a>>,
    sensors: Option<Sensors<'a>>,
    pub(crate) advisor: Option<Advisor<'a>>,
    pub(crate) actuators: Actuators,
    pub previous: Option<Outcome>,
    /// Steps in a row that were not applied because a number was not finite.
    pub(crate) not_finite: u64,
}

/// A step before the policy speaks: all of it, and what this rank's share of its samples
/// shows.
pub struct Measured<'s> {
    pub context: StepContext<'s>,
    share: Share,
    /// Of the share's answer tokens, in order.
    labels: Vec<u32>,
    known: Vec<Arc<Known>>,
    current: Shown,
    /// The training forward, if signals had to be read off it already.
    forward: Option<Forward>,
}

impl<'s> Measured<'s> {
    /// The samples of this rank's share.
    fn mine(&self) -> &[&'s Sample] {
        &self.context.samples[self.share.samples.clone()]
    }

    /// Their answer tokens, among those of the step.
    fn tokens(&self) -> Range<usize> {
        let Range { start, end } = self.share.samples;
        self.context.offsets[start] as usize..self.context.offsets[end] as usize
    }
}

impl<'a> State<'a> {
    pub fn new(setup: &'a Setup<'a>) -> Result<Self> {
        let config = setup.config;
        let layout = Layout::new(setup.adapter);
        let total = setup.plan.total_steps();
        let sensors = (!setup.needs.is_empty()).then(|| {
            Sensors::new(
                setup.decoder,
                setup.adapter,
                setup.needs.iter().collect(),
                setup.judges,
                setup.canary,
            )
        });
        let advisor =
            (!setup.policies.is_empty()).then(|| Advisor::new(setup.policies, setup.on_fault));
        Ok(Self {
            setup,
            parameters: layout.read()?,
            gradient: vec![0.0; layout.len()],
            optimizer: AdamW::new(config.adamw(), layout.len()),
            schedule: Schedule {
                peak: config.learning_rate,
                warmup: (config.warmup * total as f64).round() as u64,
                total,
                floor: config.floor,
            },
            reference: reference(setup, sensors.as_ref()),
            teacher: None,
            steered: setup.steering.map(Steered::new).transpose()?,
            sensors,
            advisor,
            actuators: Actuators::default(),
            previous: None,
            not_finite: 0,
            layout,
        })
    }

    /// Gathers what the policy's signals need: the reference's view of the samples,
    /// and the current model's. With one micro-batch the latter is the training
    /// forward itself; with more it costs one extra forward without gradient.
    pub fn measure<'s>(
        &mut self,
        step: u64,
        samples: &[&'s Sample],
        share: Share,
        micro: &[MicroBatch],
    ) -> Result<Measured<'s>> {
        let labels = micro.iter().flat_map(|batch| batch.labels());
        let mut measured = Measured {
            context: StepContext::new(step, self.schedule.at(step), samples, self.previous),
            share,
            labels: labels.copied().collect(),
            known: Vec::new(),
            current: Shown::default(),
            forward: None,
        };
        let Some(sensors) = &self.sensors else {
            return Ok(measured);
        };
        if sensors.needs_reference() {
            measured.known = self.reference.of(measured.mine())?;
        }
        if sensors.needs_current() {
            for batch in micro {
                let forward = batch.forward(
                    self.setup.decoder,
                    self.setup.adapter,
                    sensors.current_taps(),
                )?;
                sensors.read(&forward, batch, &mut measured.current)?;
                measured.forward = (micro.len() == 1).then_some(forward);
            }
        }
        Ok(measured)
    }

    /// Brings all ranks' shares together and asks the policies, which the first rank does.
    pub fn assess(&mut self, measured: &Measured) -> Result<Option<Advice>> {
        let Some(sensors) = &self.sensors else {
            return Ok(None);
        };
        let started = Instant::now();
        let reference = sensors.recall(&measured.known, &measured.labels)?;
        let recalling = started.elapsed();
        let views = sensors.gather(&reference, &measured.current, self.setup.ranks)?;
        let Some(advisor) = &mut self.advisor else {
            return Ok(None);
        };
        let started = Instant::now();
        let signals = sensors.signals(&measured.context, views, self.steered.as_ref())?;
        let measuring = recalling + started.elapsed();
        let mut advice = advisor.assess(signals)?;
        advice.measuring = measuring;
        Ok(Some(advice))
    }

    /// What the policies ask of all ranks.
    pub fn spread(&self, advice: Option<&Advice>) -> Result<Option<Regularization>> {
        if self.setup.needs.is_empty() {
            return Ok(None);
        }
        let asked = advice.map(|advice| &advice.assessment.regularization);
        self.setup.ranks.lead(|| Ok(asked.cloned()))
    }

    /// Puts in force what the policies ask of steering, if they do.
    pub fn steer(&mut self, asked: Option<&Regularization>) -> Result<()> {
        match asked.and_then(|asked| asked.steering) {
            Some(steering) => self.put_in_force(steering.into()),
            None => Ok(()),
        }
    }

    /// From here on another reference teaches, which knows nothing of what the one before
    /// said. Signals are read off the reference as it is.
    pub(crate) fn put_in_force(&mut self, in_force: InForce) -> Result<()> {
        let Some(steered) = &mut self.steered else {
            return Ok(());
        };
        if !steered.put(in_force)? {
            return Ok(());
        }
        let unsteered = reference(self.setup, self.sensors.as_ref());
        let teacher = steered.teacher().cloned();
        if self.sensors.as_ref().is_some_and(Sensors::needs_reference) {
            self.teacher = teacher.map(|steering| unsteered.steered(steering));
        } else {
            self.reference = match teacher {
                Some(steering) => unsteered.steered(steering),
                None => unsteered,
            };
        }
        Ok(())
    }

    /// What is in force, where there is something to steer by.
    pub fn steering(&self) -> Option<InForce> {
        self.steered.as_ref().map(Steered::in_force)
    }

    /// The weights of the share's answer tokens.
    pub fn weigh(
        &mut self,
        measured: &mut Measured,
        asked: Option<&Regularization>,
    ) -> Result<TokenWeights> {
        let context = &measured.context;
        let Some(asked) = asked else {
            return Ok(objective::plain(context.answer_tokens()).slice(measured.tokens()));
        };
        let all = objective::token_weights(asked, &context.offsets);
        let mut weights = all.slice(measured.tokens());
        if weights.needs_reference() {
            // Signals have been read by now, so what taught them may go.
            match &mut self.teacher {
                Some(teacher) => measured.known = teacher.of(measured.mine())?,
                None if measured.known.is_empty() => {
                    measured.known = self.reference.of(measured.mine())?;
                }
                None => {}
            }
        }
        if objective::wants_label_divergence(asked) && !measured.labels.is_empty() {
            let current = &measured.current.log_probs;
            let reference =
                reference_log_probs(self.setup.decoder, &measured.known, &measured.labels)?;
            weights.label_divergence(current, &reference);
        }
        Ok(weights)
    }

    /// Forward and backward over all micro-batches; leaves the sum over all ranks in
    /// `gradient`.
    pub fn descend(
        &mut self,
        measured: &mut Measured,
        micro: &[MicroBatch],
        weights: &TokenWeights,
        record: &mut StepRecord,
    ) -> Result<()> {
        let Setup {
            decoder, adapter, ..
        } = *self.setup;
        self.gradient.fill(0.0);
        let (mut sample, mut token) = (0, 0);
        for batch in micro {
            let forward = match measured.forward.take() {
                Some(forward) => forward,
                None => batch.forward(decoder, adapter, &[])?,
            };
            let tokens = batch.labels().len();
            let part = weights.slice(token..token + tokens);
            let teacher = match part.needs_reference() {
                true => Some(reference::stack(
                    &measured.known[sample..sample + batch.members.len()],
                )?),
                false => None,
            };
            let result = batch.backward(decoder, &forward, teacher.as_ref(), &part)?;
            self.layout
                .accumulate(&result.grads, &mut self.gradient, measured.context.step)?;
            record.add(&result, teacher.is_some());
            sample += batch.members.len();
            token += tokens;
        }
        let ranks = self.setup.ranks;
        ranks.sum(&mut self.gradient)?;
        record.sum(ranks)?;
        match ranks.is_first() {
            true => self.check_reach(measured.context.step, record),
            false => Ok(()),
        }
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

    /// At step 0 every part of the adapter must get a gradient.
    fn check_reach(&self, step: u64, record: &StepRecord) -> Result<()> {
        // The KL to the reference has no gradient where a run starts, at the reference.
        let learns = record.task_weight != 0.0;
        match self.layout.first_dead_b(&self.gradient) {
            Some(name) if step == 0 && learns => Err(Error::Gradient {
                step,
                problem: format!("the gradient of {name} is zero everywhere"),
            }),
            _ => Ok(()),
        }
    }

    pub fn update(
        &mut self,
        asked: Option<&Regularization>,
        record: &mut StepRecord,
    ) -> Result<()> {
        record.gradient_norm = norm(&self.gradient);
        let clip = asked
            .and_then(|asked| asked.gradient_clip)
            .unwrap_or(self.setup.config.gradient_clip);
        if clip > 0.0 && record.gradient_norm > clip {
            let scale = (clip / record.gradient_norm) as f32;
            self.gradient.iter_mut().for_each(|value| *value *= scale);
        }
        record.learning_rate =
            self.schedule.at(record.step) * asked.map_or(1.0, |asked| asked.learning_rate_scale);
        let may_roll_back = |needs: &Needs| needs.actuators.contains(Actuator::ROLL_BACK);
        if self.setup.needs.iter().any(may_roll_back) {
            self.actuators.remember(&self.parameters, &self.optimizer);
        }
        self.optimizer
            .step(&mut self.parameters, &self.gradient, record.learning_rate);
        if let Some(ema) = asked.and_then(|asked| asked.ema.as_ref()) {
            self.actuators.average(ema, &mut self.parameters);
        }
        self.layout.write(&self.parameters)
    }

    pub fn roll_back(&mut self) -> Result<()> {
        if let Some((parameters, optimizer)) = self.actuators.take_back() {
            self.parameters = parameters;
            self.optimizer = optimizer;
            self.layout.write(&self.parameters)?;
        }
        Ok(())
    }

    /// A policy that averaged the parameters gets the average exported.
    pub fn close(&self) -> Result<()> {
        match self.actuators.shadow() {
            Some(shadow) => self.layout.write(shadow),
            None => Ok(()),
        }
    }
}

/// The reference as it is, with the memory that it may take: half, if signals are read off
/// it while a steered one may teach.
fn reference<'a>(setup: &Setup<'a>, sensors: Option<&Sensors>) -> Reference<'a> {
    let signals = sensors.is_some_and(Sensors::needs_reference);
    let halves = signals && setup.steering.is_some();
    let memory = (setup.config.reference_cache_mib as u64) << 20;
    Reference::new(
        setup.decoder,
        sensors.map_or(&[][..], Sensors::reference_taps),
        setup.config.micro_batch(),
        if halves { memory / 2 } else { memory },
        setup.reference,
    )
}
