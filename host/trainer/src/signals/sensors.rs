//! Measures what the policies asked for, once, and nothing else.
//!
//! Each policy gets to see its own share, in the order in which it asked.

use std::sync::Arc;

use candle_core::Tensor;
use host_model::ChatTokenizer;
use host_model::decoder::{Decoder, Forward};
use host_model::lora::Lora;
use host_policy::wit::{self, JudgeNeed, Needs, Signals, Source, Tap, TokenNeeds};

use crate::actuators::steering::ActiveSteering;
use crate::error::Result;
use crate::parameters::distance;
use crate::ranks::Ranks;
use crate::signals::reference::ReferenceOutputs;
use crate::signals::sample_loss;
use crate::signals::taps::{self, Reading, SampleTaps};
use host_data::{Sample, answer_offsets};
use host_eval::canary::Canary;
use host_judges::{Judged, Judges};

pub struct Sensors<'a> {
    decoder: &'a Decoder,
    adapter: &'a Lora,
    /// One per policy.
    needs: Vec<&'a Needs>,
    /// Those of all policies, each once.
    taps: Taps,
    judges: &'a Judges,
    tokenizer: &'a ChatTokenizer,
    canary: Option<&'a Canary>,
}

/// Where activations are read, by the model they are read from.
#[derive(Default)]
struct Taps {
    reference: Vec<Tap>,
    current: Vec<Tap>,
}

impl Taps {
    fn of<'n>(needs: impl Iterator<Item = &'n Needs>) -> Self {
        let mut taps = Self::default();
        for tap in needs.flat_map(|needs| &needs.taps) {
            let known = match tap.source {
                Source::Reference => &mut taps.reference,
                Source::Current => &mut taps.current,
            };
            if !known.contains(tap) {
                known.push(tap.clone());
            }
        }
        taps
    }
}

/// What policies read of the reference, each tap once.
pub fn reference_taps<'n>(needs: impl Iterator<Item = &'n Needs>) -> Vec<Tap> {
    Taps::of(needs).reference
}

/// What one model shows of samples, in their order; nothing of what nobody asked for.
#[derive(Clone, Default)]
pub struct ModelReadout {
    taps: Vec<SampleTaps>,
    /// Of all answer tokens.
    pub log_probs: Vec<f32>,
}

/// What a step's samples show, for the policies to be told.
pub struct Readouts {
    reference: ModelReadout,
    current: ModelReadout,
}

/// What was measured for one step, for all policies together.
struct Measurements {
    activations: Vec<wit::Activations>,
    judged: Vec<Judged>,
    tokens: wit::TokenSignals,
    canary: Option<wit::Canary>,
    drift: Option<f64>,
    sample_loss: Option<Vec<f64>>,
    steering: Option<wit::SteeringSignals>,
}

impl<'a> Sensors<'a> {
    /// `needs` holds those of each policy.
    pub fn new(
        decoder: &'a Decoder,
        adapter: &'a Lora,
        needs: Vec<&'a Needs>,
        judges: &'a Judges,
        tokenizer: &'a ChatTokenizer,
        canary: Option<&'a Canary>,
    ) -> Self {
        Self {
            decoder,
            adapter,
            taps: Taps::of(needs.iter().copied()),
            needs,
            judges,
            tokenizer,
            canary,
        }
    }

    /// The taps on the reference, which its forward must read.
    pub fn reference_taps(&self) -> &[Tap] {
        &self.taps.reference
    }

    /// The taps on the model in training, likewise.
    pub fn current_taps(&self) -> &[Tap] {
        &self.taps.current
    }

    /// The learning-rate scales that any policy wants tried, each once.
    pub fn trial_scales(&self) -> Vec<f64> {
        let mut scales = Vec::new();
        for scale in self.needs.iter().flat_map(|needs| &needs.trial_scales) {
            if !scales.contains(scale) {
                scales.push(*scale);
            }
        }
        scales
    }

    pub fn needs_current(&self) -> bool {
        self.needs.iter().any(|needs| reads_current(needs))
    }

    /// Whether signals need the reference before the policies have spoken.
    pub fn needs_reference(&self) -> bool {
        self.needs.iter().any(|needs| reads_reference(needs))
    }

    fn any_wants(&self, tokens: TokenNeeds) -> bool {
        self.needs.iter().any(|needs| needs.tokens.contains(tokens))
    }

    fn any_wants_loss(&self) -> bool {
        self.needs.iter().any(|needs| needs.sample_loss)
    }

    /// Reads the reference's signals off what is known of the samples with these labels.
    pub fn recall(&self, known: &[Arc<ReferenceOutputs>], labels: &[u32]) -> Result<ModelReadout> {
        let log_probs = match self.any_wants(TokenNeeds::REFERENCE) && !known.is_empty() {
            true => reference_log_probs(self.decoder, known, labels)?,
            false => Vec::new(),
        };
        Ok(ModelReadout { taps: known.iter().map(|known| known.taps.clone()).collect(), log_probs })
    }

    /// Reads the current model's signals off a forward of these samples: their taps, and
    /// the log-probabilities of their labels, which `answer_rows` predict.
    pub fn read(
        &self,
        forward: &Forward,
        samples: &[&Sample],
        labels: &[u32],
        answer_rows: impl FnOnce() -> Result<Tensor>,
        into: &mut ModelReadout,
    ) -> Result<()> {
        let width = self.decoder.config.hidden_size;
        let reading = Reading::new(&self.taps.current, samples);
        into.taps.extend(reading.by_sample(forward.taps.clone(), width));
        if self.any_wants(TokenNeeds::CURRENT) || self.any_wants_loss() {
            let hidden = answer_rows()?.detach();
            into.log_probs.extend(self.decoder.label_log_probs(&hidden, labels)?);
        }
        Ok(())
    }

    /// From each rank's share of a step to the whole of it, at the first rank.
    pub fn gather(
        &self,
        reference: &ModelReadout,
        current: &ModelReadout,
        ranks: &Ranks,
    ) -> Result<Readouts> {
        let width = self.decoder.config.hidden_size;
        Ok(Readouts {
            reference: reference.gather(&self.taps.reference, width, ranks)?,
            current: current.gather(&self.taps.current, width, ranks)?,
        })
    }

    /// What each policy gets to see of one optimizer step, in the policies' order.
    /// `views` holds the reference if `needs_reference`, the current model if
    /// `needs_current`.
    pub fn signals(
        &self,
        step: &StepContext,
        views: Readouts,
        steered: Option<&ActiveSteering>,
    ) -> Result<Vec<Signals>> {
        self.judges.come_to(step.step);
        let measured = self.measure(step, views, steered)?;
        let view = |needs: &&Needs| self.view_for(needs, step, &measured);
        Ok(self.needs.iter().map(view).collect())
    }

    fn measure(
        &self,
        step: &StepContext,
        views: Readouts,
        steered: Option<&ActiveSteering>,
    ) -> Result<Measurements> {
        let width = self.decoder.config.hidden_size;
        let Readouts { reference, current } = views;
        let mut activations = taps::gather(&self.taps.reference, reference.taps.iter(), width);
        activations.extend(taps::gather(&self.taps.current, current.taps.iter(), width));
        let drift = self.needs.iter().any(|needs| needs.drift);
        let canary = match self.canary {
            Some(canary) if self.needs.iter().any(|needs| due(needs, step.step)) => {
                Some(wit::Canary {
                    step: step.step,
                    margins: canary.margins(self.decoder, Some(self.adapter))?,
                })
            }
            _ => None,
        };
        let judges = self.needs.iter().flat_map(|needs| &needs.judges);
        let judged = self.judges.of_step(judges, &step.samples, self.tokenizer)?;
        let steering = steered.map(|steered| {
            let margins = canary.as_ref().map(|canary| canary.margins.as_slice());
            steered.signals(self.decoder, self.adapter, self.canary, margins)
        });
        let sample_loss =
            self.any_wants_loss().then(|| sample_loss::measure(&step.offsets, &current.log_probs));
        Ok(Measurements {
            activations,
            sample_loss,
            judged,
            tokens: wit::TokenSignals {
                offsets: step.offsets.clone(),
                current: current.log_probs,
                reference: reference.log_probs,
            },
            canary,
            drift: drift.then(|| distance::update_norm(self.adapter)).transpose()?,
            steering: steering.transpose()?,
        })
    }

    /// Of all that was measured, what one policy asked for.
    fn view_for(&self, needs: &Needs, step: &StepContext, measured: &Measurements) -> Signals {
        let of_tap = |tap: &Tap| {
            let mut all = measured.activations.iter();
            all.find(|one| one.tap == *tap).cloned()
        };
        let of_need = |need: &JudgeNeed| {
            let mut all = measured.judged.iter();
            all.find(|one| one.need == *need)
        };
        let judged = || needs.judges.iter().filter_map(of_need);
        Signals {
            step: step.step,
            learning_rate: step.learning_rate,
            samples: step.samples.iter().map(|sample| describe(sample)).collect(),
            activations: needs.taps.iter().filter_map(of_tap).collect(),
            judges: judged().map(|one| one.scores.clone()).collect(),
            prefixes: judged().filter_map(|one| one.prefixes.clone()).collect(),
            tokens: tokens(needs, &measured.tokens),
            canary: measured.canary.clone().filter(|_| due(needs, step.step)),
            trials: trials(needs, &step.trials),
            gradient_conflict: step.gradient_conflict.filter(|_| needs.gradient_conflict),
            drift: measured.drift.filter(|_| needs.drift),
            sample_loss: measured.sample_loss.clone().filter(|_| needs.sample_loss),
            steering: steering(needs, step.step, measured.steering.as_ref()),
            previous: step.previous,
            ..Signals::default()
        }
    }
}

impl ModelReadout {
    fn gather(&self, taps: &[Tap], width: usize, ranks: &Ranks) -> Result<Self> {
        if ranks.size() == 1 {
            return Ok(self.clone());
        }
        let flat = self.taps.iter().flatten().flatten().copied().collect();
        Ok(Self {
            taps: taps::by_sample(taps, &ranks.gather(flat)?, width),
            log_probs: ranks.gather(self.log_probs.clone())?,
        })
    }
}

fn tokens(needs: &Needs, measured: &wit::TokenSignals) -> Option<wit::TokenSignals> {
    let wanted = |flag: TokenNeeds, values: &Vec<f32>| match needs.tokens.contains(flag) {
        true => values.clone(),
        false => Vec::new(),
    };
    (needs.tokens != TokenNeeds::empty()).then(|| wit::TokenSignals {
        offsets: measured.offsets.clone(),
        current: wanted(TokenNeeds::CURRENT, &measured.current),
        reference: wanted(TokenNeeds::REFERENCE, &measured.reference),
    })
}

/// Those a policy asked for, in its order.
fn trials(needs: &Needs, measured: &[wit::Trial]) -> Vec<wit::Trial> {
    let of_scale = |scale: &f64| measured.iter().find(|trial| trial.scale == *scale);
    let scales = needs.trial_scales.iter();
    scales.filter_map(of_scale).cloned().collect()
}

/// The margins with and without it come with those of the canary.
fn steering(
    needs: &Needs,
    step: u64,
    measured: Option<&wit::SteeringSignals>,
) -> Option<wit::SteeringSignals> {
    let mut signals = measured.filter(|_| needs.steering.is_some())?.clone();
    if !due(needs, step) {
        signals.margins_without.clear();
        signals.margins_with.clear();
    }
    Some(signals)
}

/// Whether a policy wants the canary's margins before this step.
fn due(needs: &Needs, step: u64) -> bool {
    let every = needs.canary_every;
    every.is_some_and(|every| step.is_multiple_of(u64::from(every.max(1))))
}

/// Whether a policy reads the model in training before it speaks.
pub fn reads_current(needs: &Needs) -> bool {
    needs.taps.iter().any(|tap| tap.source == Source::Current)
        || needs.tokens.contains(TokenNeeds::CURRENT)
        || needs.sample_loss
}

/// Whether a policy reads the reference before it speaks.
pub fn reads_reference(needs: &Needs) -> bool {
    needs.taps.iter().any(|tap| tap.source == Source::Reference)
        || needs.tokens.contains(TokenNeeds::REFERENCE)
}

/// What the loop knows of a step before the policy speaks.
pub struct StepContext<'a> {
    pub step: u64,
    pub learning_rate: f64,
    pub samples: Vec<&'a Sample>,
    /// First answer token of each sample, and the total.
    pub offsets: Vec<u32>,
    pub previous: Option<wit::Outcome>,
    /// Of the step before.
    pub gradient_conflict: Option<wit::GradientConflict>,
    /// At each scale that any policy asked for.
    pub trials: Vec<wit::Trial>,
}

impl<'a> StepContext<'a> {
    pub fn new(
        step: u64,
        learning_rate: f64,
        samples: &[&'a Sample],
        previous: Option<wit::Outcome>,
    ) -> Self {
        Self {
            step,
            learning_rate,
            samples: samples.to_vec(),
            offsets: answer_offsets(samples),
            previous,
            gradient_conflict: None,
            trials: Vec::new(),
        }
    }
}

impl StepContext<'_> {
    /// Of the whole step.
    pub fn answer_tokens(&self) -> usize {
        self.offsets.last().map_or(0, |total| *total as usize)
    }
}

/// ln P of the labels under the reference, from its cached hidden states.
pub fn reference_log_probs(
    decoder: &Decoder,
    known: &[Arc<ReferenceOutputs>],
    labels: &[u32],
) -> Result<Vec<f32>> {
    let hidden: Vec<&Tensor> = known.iter().map(|known| &known.hidden).collect();
    Ok(decoder.label_log_probs(&Tensor::cat(&hidden, 0)?, labels)?)
}

fn describe(sample: &Sample) -> wit::Sample {
    wit::Sample {
        id: sample.id,
        origin: match sample.origin {
            host_data::Origin::Task => wit::Origin::Task,
            host_data::Origin::Alignment => wit::Origin::Alignment,
        },
        prompt_tokens: sample.prompt_len as u32,
        answer_tokens: sample.answer_tokens() as u32,
    }
}
