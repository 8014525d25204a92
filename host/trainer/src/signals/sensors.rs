//! Measures what the policies asked for, once, and nothing else.
//!
//! Each policy gets to see its own share, in the order in which it asked.

use std::sync::Arc;

use candle_core::Tensor;
use host_contract::{self as wit, Needs, Signals, Tap};
use host_data::Sample;
use host_eval::canary::Canary;
use host_judges::Judges;
use host_model::ChatTokenizer;
use host_model::decoder::{Decoder, Forward};
use host_model::lora::Lora;

use super::measured::{Measurements, Moment, Reads};
use super::readout::{ModelReadout, Readouts, StepContext, Taps};
use super::reference::ReferenceOutputs;
use super::taps::Reading;
use super::{MEASURED, reads};
use crate::actuators::steering::ActiveSteering;
use crate::error::Result;
use crate::ranks::Ranks;

pub struct Sensors<'a> {
    decoder: &'a Decoder,
    adapter: &'a Lora,
    /// One per policy.
    needs: Vec<&'a Needs>,
    /// Those of all policies, each once.
    taps: Taps,
    /// What any policy reads of the models.
    reads: Reads,
    judges: &'a Judges,
    tokenizer: &'a ChatTokenizer,
    canary: Option<&'a Canary>,
}

/// What policies read of the reference, each tap once.
pub fn reference_taps<'n>(needs: impl Iterator<Item = &'n Needs>) -> Vec<Tap> {
    Taps::of(needs).reference
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
            reads: needs.iter().fold(Reads::default(), |sum, needs| sum | reads(needs)),
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
        self.reads.current
    }

    /// Whether signals need the reference before the policies have spoken.
    pub fn needs_reference(&self) -> bool {
        self.reads.reference
    }

    /// Reads the reference's signals off what is known of the samples with these labels.
    pub fn recall(&self, known: &[Arc<ReferenceOutputs>], labels: &[u32]) -> Result<ModelReadout> {
        let log_probs = if self.reads.reference_log_probs && !known.is_empty() {
            reference_log_probs(self.decoder, known, labels)?
        } else {
            Vec::new()
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
        if self.reads.current_log_probs {
            let hidden = answer_rows()?.detach();
            into.log_probs.extend(self.decoder.label_log_probs(&hidden, labels)?);
        }
        Ok(())
    }

    /// From the shard of each rank to the whole step, on the root.
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
        let at = Moment {
            decoder: self.decoder,
            adapter: self.adapter,
            needs: &self.needs,
            taps: &self.taps,
            judges: self.judges,
            tokenizer: self.tokenizer,
            canary: self.canary,
            step,
            reference: &views.reference,
            current: &views.current,
            steered,
        };
        let mut measured = Measurements::default();
        for signal in MEASURED {
            signal.measure(&at, &mut measured)?;
        }
        Ok(self.needs.iter().map(|needs| view_for(needs, step, &measured)).collect())
    }
}

/// Of all that was measured, what one policy asked for.
fn view_for(needs: &Needs, step: &StepContext, measured: &Measurements) -> Signals {
    let mut view = Signals {
        step: step.step,
        learning_rate: step.learning_rate,
        samples: step.samples.iter().map(|sample| describe(sample)).collect(),
        ..Signals::default()
    };
    for signal in MEASURED {
        signal.view(needs, measured, &mut view);
    }
    view
}

/// Whether a policy reads the model in training before it speaks.
pub fn reads_current(needs: &Needs) -> bool {
    reads(needs).current
}

/// Whether a policy reads the reference before it speaks.
pub fn reads_reference(needs: &Needs) -> bool {
    reads(needs).reference
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
