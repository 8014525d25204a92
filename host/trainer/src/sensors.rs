//! Measures what a policy asked for, and nothing else.

use std::sync::Arc;

use candle_core::Tensor;
use host_model::decoder::{Decoder, Forward};
use host_model::lora::Lora;
use host_policy::wit::{self, Needs, Signals, Tap, TokenNeeds};

use crate::canary::Canary;
use crate::data::{self, Sample, answer_offsets};
use crate::error::Result;
use crate::judges::Judges;
use crate::micro_batch::MicroBatch;
use crate::reference::Known;
use crate::taps::{self, Reading, SampleTaps};

pub struct Sensors<'a> {
    pub decoder: &'a Decoder,
    pub adapter: &'a Lora,
    pub needs: &'a Needs,
    pub judges: &'a Judges,
    pub canary: Option<&'a Canary>,
}

/// What the current model shows of a step's samples.
#[derive(Default)]
pub struct Current {
    taps: Vec<SampleTaps>,
    pub log_probs: Vec<f32>,
}

impl Sensors<'_> {
    /// The taps on the model in training, which its forward must read.
    pub fn current_taps(&self) -> Vec<Tap> {
        self.needs
            .taps
            .iter()
            .filter(|tap| tap.source == wit::Source::Current)
            .cloned()
            .collect()
    }

    pub fn needs_current(&self) -> bool {
        reads_current(self.needs)
    }

    /// Whether signals need the reference before the policy has spoken.
    pub fn needs_reference(&self) -> bool {
        self.needs
            .taps
            .iter()
            .any(|tap| tap.source == wit::Source::Reference)
            || self.needs.tokens.contains(TokenNeeds::REFERENCE)
    }

    /// Reads the current model's signals off a forward of one micro-batch.
    pub fn read(&self, forward: &Forward, batch: &MicroBatch, into: &mut Current) -> Result<()> {
        let width = self.decoder.config.hidden_size;
        let taps = self.current_taps();
        into.taps
            .extend(Reading::new(&taps, batch.members).by_sample(forward.taps.clone(), width));
        if self.needs.tokens.contains(TokenNeeds::CURRENT) {
            let hidden = batch.answer_rows(forward)?.detach();
            into.log_probs
                .extend(self.decoder.label_log_probs(&hidden, batch.labels())?);
        }
        Ok(())
    }

    /// Everything the policy gets to see of one optimizer step. `known` is empty
    /// unless `needs_reference`, `current` unless `needs_current`.
    pub fn signals(
        &self,
        step: &StepContext,
        known: &[Arc<Known>],
        current: &Current,
    ) -> Result<Signals> {
        Ok(Signals {
            step: step.step,
            learning_rate: step.learning_rate,
            samples: step.samples.iter().map(|sample| describe(sample)).collect(),
            activations: self.activations(known, current),
            judges: self.judges.scores(&self.needs.judges, &step.samples),
            prefixes: Vec::new(),
            tokens: self.tokens(step, known, current)?,
            canary: self.canary(step.step)?,
            trials: Vec::new(),
            gradient_conflict: None,
            drift: if self.needs.drift {
                Some(crate::drift::update_norm(self.adapter)?)
            } else {
                None
            },
            steering: None,
            previous: step.previous,
        })
    }

    /// In the order of `needs.taps`, whichever model each one reads.
    fn activations(&self, known: &[Arc<Known>], current: &Current) -> Vec<wit::Activations> {
        let width = self.decoder.config.hidden_size;
        let of = |source| {
            self.needs
                .taps
                .iter()
                .filter(move |tap| tap.source == source)
                .cloned()
                .collect::<Vec<_>>()
        };
        let mut reference = taps::gather(
            &of(wit::Source::Reference),
            known.iter().map(|known| &known.taps),
            width,
        )
        .into_iter();
        let mut present =
            taps::gather(&of(wit::Source::Current), current.taps.iter(), width).into_iter();
        let in_order = self.needs.taps.iter().filter_map(|tap| match tap.source {
            wit::Source::Reference => reference.next(),
            wit::Source::Current => present.next(),
        });
        in_order.collect()
    }

    fn tokens(
        &self,
        step: &StepContext,
        known: &[Arc<Known>],
        current: &Current,
    ) -> Result<Option<wit::TokenSignals>> {
        if self.needs.tokens == TokenNeeds::empty() {
            return Ok(None);
        }
        let reference = if self.needs.tokens.contains(TokenNeeds::REFERENCE) {
            reference_log_probs(self.decoder, known, &step.labels)?
        } else {
            Vec::new()
        };
        Ok(Some(wit::TokenSignals {
            offsets: step.offsets.clone(),
            current: current.log_probs.clone(),
            reference,
        }))
    }

    fn canary(&self, step: u64) -> Result<Option<wit::Canary>> {
        let due = self
            .needs
            .canary_every
            .is_some_and(|every| step.is_multiple_of(u64::from(every.max(1))));
        let (true, Some(canary)) = (due, self.canary) else {
            return Ok(None);
        };
        Ok(Some(wit::Canary {
            step,
            margins: canary.margins(self.decoder, Some(self.adapter))?,
        }))
    }
}

/// Whether a policy reads the model in training before it speaks.
pub fn reads_current(needs: &Needs) -> bool {
    needs
        .taps
        .iter()
        .any(|tap| tap.source == wit::Source::Current)
        || needs.tokens.contains(TokenNeeds::CURRENT)
}

/// What the loop knows of a step before the policy speaks.
pub struct StepContext<'a> {
    pub step: u64,
    pub learning_rate: f64,
    pub samples: Vec<&'a Sample>,
    /// First answer token of each sample, and the total.
    pub offsets: Vec<u32>,
    /// Labels of all answer tokens, in order.
    pub labels: Vec<u32>,
    pub previous: Option<wit::Outcome>,
}

impl<'a> StepContext<'a> {
    pub fn new(
        step: u64,
        learning_rate: f64,
        samples: &[&'a Sample],
        micro: &[MicroBatch],
        previous: Option<wit::Outcome>,
    ) -> Self {
        Self {
            step,
            learning_rate,
            samples: samples.to_vec(),
            offsets: answer_offsets(samples),
            labels: micro
                .iter()
                .flat_map(|batch| batch.labels().iter().copied())
                .collect(),
            previous,
        }
    }
}

/// ln P of the labels under the reference, from its cached hidden states.
pub fn reference_log_probs(
    decoder: &Decoder,
    known: &[Arc<Known>],
    labels: &[u32],
) -> Result<Vec<f32>> {
    let hidden: Vec<&Tensor> = known.iter().map(|known| &known.hidden).collect();
    Ok(decoder.label_log_probs(&Tensor::cat(&hidden, 0)?, labels)?)
}

fn describe(sample: &Sample) -> wit::Sample {
    wit::Sample {
        id: sample.id,
        origin: match sample.origin {
            data::Origin::Task => wit::Origin::Task,
            data::Origin::Alignment => wit::Origin::Alignment,
        },
        prompt_tokens: sample.prompt_len as u32,
        answer_tokens: sample.answer_tokens() as u32,
    }
}
