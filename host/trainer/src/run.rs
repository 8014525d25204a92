//! The training loop, from batch to journal, on one page:
//!
//! ```text
//! batch -> forward -> signals -> policy.assess -> objective -> backward
//!       -> optimizer -> journal
//! ```
//!
//! One assessment per policy and optimizer step, over all its samples, before any
//! gradient.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use host_model::decoder::{Decoder, Forward};
use host_model::lora::Lora;
use host_policy::wit::{Action, Outcome};

use crate::actuators::Actuators;
use crate::advisor::{ActivePolicy, Advice, Advisor, applies};
use crate::canary::Canary;
use crate::config::{OnFault, TrainConfig};
use crate::data::{Plan, Sample};
use crate::error::{Error, Result};
use crate::judges::Judges;
use crate::micro_batch::MicroBatch;
use crate::objective::{self, TokenWeights};
use crate::observer::Observer;
use crate::optimizer::AdamW;
use crate::parameters::{Layout, norm};
use crate::records::{Ending, StepRecord, Totals};
use crate::reference::{self, Known, Reference};
use crate::run_dir::Records;
use crate::schedule::Schedule;
use crate::sensors::{Current, Sensors, StepContext, reference_log_probs};

/// Everything a run needs, loaded and checked.
pub struct Setup<'a> {
    pub decoder: &'a Decoder,
    pub adapter: &'a Lora,
    pub plan: &'a Plan,
    /// None trains plainly.
    pub policies: &'a [ActivePolicy],
    pub judges: &'a Judges,
    pub canary: Option<&'a Canary>,
    /// What the reference said in other runs.
    pub reference: Option<&'a reference::Store>,
    pub config: &'a TrainConfig,
    pub on_fault: OnFault,
}

pub fn run(
    setup: &Setup,
    records: &mut Records,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Totals> {
    let mut state = State::new(setup)?;
    let mut totals = Totals::default();
    let total = setup.plan.total_steps();
    for step in 0..total {
        let started = Instant::now();
        let samples = setup.plan.step(step);
        let micro: Vec<MicroBatch> = samples
            .chunks(setup.config.micro_batch())
            .map(MicroBatch::new)
            .collect();
        let mut measured = state.measure(step, &samples, &micro)?;
        let mut advice = state.assess(&measured)?;
        if let Some(advice) = &mut advice {
            // Before anything acts on it, so that a fault is on record as well.
            records.assessed(step, advice)?;
            if let Some(fault) = advice.failed.take() {
                return Err(fault.into());
            }
        }
        let action = advice.as_ref().map_or(Action::Update, |advice| {
            advice.assessment.regularization.action
        });

        let mut record = StepRecord::new(step, total, &measured.context.samples, advice.as_ref());
        if applies(action) {
            let weights = state.weigh(&mut measured, advice.as_ref())?;
            state.descend(&mut measured, &micro, &weights, &mut record)?;
            state.update(advice.as_ref(), &mut record)?;
        } else if action == Action::RollBack {
            state.roll_back()?;
        }
        record.close(
            started.elapsed(),
            micro.iter().map(MicroBatch::tokens).sum(),
        );
        let outcome = record.outcome(action);
        records.step(&record, outcome)?;
        totals.add(&record);
        for fault in advice.iter().flat_map(Advice::faults) {
            observer.notice(&format!("{fault}; this step is held to the reference"));
        }
        observer.step(&record);
        state.previous = Some(outcome);

        if action == Action::Stop {
            totals.ending = Ending::Stopped;
            break;
        }
        if stop.load(Ordering::Relaxed) && step + 1 < total {
            totals.ending = Ending::Interrupted;
            break;
        }
    }
    state.close()?;
    Ok(totals)
}

/// What changes from step to step.
struct State<'a> {
    setup: &'a Setup<'a>,
    layout: Layout,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    optimizer: AdamW,
    schedule: Schedule,
    reference: Reference<'a>,
    sensors: Option<Sensors<'a>>,
    advisor: Option<Advisor<'a>>,
    actuators: Actuators,
    previous: Option<Outcome>,
}

/// A step before the policy speaks.
struct Measured<'s> {
    context: StepContext<'s>,
    known: Vec<Arc<Known>>,
    current: Current,
    /// The training forward, if signals had to be read off it already.
    forward: Option<Forward>,
}

impl<'a> State<'a> {
    fn new(setup: &'a Setup<'a>) -> Result<Self> {
        let config = setup.config;
        let layout = Layout::new(setup.adapter);
        let total = setup.plan.total_steps();
        let needs: Vec<_> = setup.policies.iter().map(|active| &active.needs).collect();
        let sensors = (!needs.is_empty()).then(|| {
            Sensors::new(
                setup.decoder,
                setup.adapter,
                needs,
                setup.judges,
                setup.canary,
            )
        });
        let advisor = sensors
            .is_some()
            .then(|| Advisor::new(setup.policies, setup.on_fault));
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
            reference: Reference::new(
                setup.decoder,
                sensors.as_ref().map_or(&[][..], Sensors::reference_taps),
                config.micro_batch(),
                (config.reference_cache_mib as u64) << 20,
                setup.reference,
            ),
            sensors,
            advisor,
            actuators: Actuators::default(),
            previous: None,
            layout,
        })
    }

    /// Gathers what the policy's signals need: the reference's view of the samples,
    /// and the current model's. With one micro-batch the latter is the training
    /// forward itself; with more it costs one extra forward without gradient.
    fn measure<'s>(
        &mut self,
        step: u64,
        samples: &[&'s Sample],
        micro: &[MicroBatch],
    ) -> Result<Measured<'s>> {
        let mut measured = Measured {
            context: StepContext::new(step, self.schedule.at(step), samples, micro, self.previous),
            known: Vec::new(),
            current: Current::default(),
            forward: None,
        };
        let Some(sensors) = &self.sensors else {
            return Ok(measured);
        };
        if sensors.needs_reference() {
            measured.known = self.reference.of(samples)?;
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

    fn assess(&mut self, measured: &Measured) -> Result<Option<Advice>> {
        let (Some(sensors), Some(advisor)) = (&self.sensors, &mut self.advisor) else {
            return Ok(None);
        };
        let started = Instant::now();
        let signals = sensors.signals(&measured.context, &measured.known, &measured.current)?;
        let measuring = started.elapsed();
        let mut advice = advisor.assess(signals)?;
        advice.measuring = measuring;
        Ok(Some(advice))
    }

    fn weigh(&mut self, measured: &mut Measured, advice: Option<&Advice>) -> Result<TokenWeights> {
        let context = &measured.context;
        let Some(advice) = advice else {
            return Ok(objective::plain(context.labels.len()));
        };
        let regularization = &advice.assessment.regularization;
        let mut weights = objective::token_weights(regularization, &context.offsets);
        if weights.needs_reference() && measured.known.is_empty() {
            measured.known = self.reference.of(&context.samples)?;
        }
        if objective::wants_label_divergence(regularization) {
            let current = &measured.current.log_probs;
            let reference =
                reference_log_probs(self.setup.decoder, &measured.known, &context.labels)?;
            weights.label_divergence(current, &reference);
        }
        Ok(weights)
    }

    /// Forward and backward over all micro-batches; leaves the sum in `gradient`.
    fn descend(
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
        self.check_gradient(measured.context.step, record)
    }

    fn check_gradient(&self, step: u64, record: &StepRecord) -> Result<()> {
        if let Some(name) = self.layout.first_not_finite(&self.gradient) {
            let problem = format!(
                "the gradient of {name} is not finite (loss {})",
                record.loss
            );
            return Err(Error::Gradient { step, problem });
        }
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

    fn update(&mut self, advice: Option<&Advice>, record: &mut StepRecord) -> Result<()> {
        let regularization = advice.map(|advice| &advice.assessment.regularization);
        record.gradient_norm = norm(&self.gradient);
        let clip = regularization
            .and_then(|asked| asked.gradient_clip)
            .unwrap_or(self.setup.config.gradient_clip);
        if clip > 0.0 && record.gradient_norm > clip {
            let scale = (clip / record.gradient_norm) as f32;
            self.gradient.iter_mut().for_each(|value| *value *= scale);
        }
        record.learning_rate = self.schedule.at(record.step)
            * regularization.map_or(1.0, |asked| asked.learning_rate_scale);
        if self.advisor.as_ref().is_some_and(Advisor::may_roll_back) {
            self.actuators.remember(&self.parameters, &self.optimizer);
        }
        self.optimizer
            .step(&mut self.parameters, &self.gradient, record.learning_rate);
        if let Some(ema) = regularization.and_then(|asked| asked.ema.as_ref()) {
            self.actuators.average(ema, &mut self.parameters);
        }
        self.layout.write(&self.parameters)
    }

    fn roll_back(&mut self) -> Result<()> {
        if let Some((parameters, optimizer)) = self.actuators.take_back() {
            self.parameters = parameters;
            self.optimizer = optimizer;
            self.layout.write(&self.parameters)?;
        }
        Ok(())
    }

    /// A policy that averaged the parameters gets the average exported.
    fn close(&self) -> Result<()> {
        match self.actuators.shadow() {
            Some(shadow) => self.layout.write(shadow),
            None => Ok(()),
        }
    }
}
