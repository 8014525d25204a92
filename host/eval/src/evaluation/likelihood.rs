//! What a model makes of given answers: their loss, how far it is from the reference
//! on them, and which of several it finds likeliest.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;
use host_data::failure::{Failure as Error, Result};
use host_data::{self as data, Overlong, PackedSamples, Prompt, Row, Sample, encode_chats, pack};
use host_model::Model;
use host_model::decoder::{Decoder, HeadRows, Overlay};

use crate::measure::{Mean, pick_choice};

/// A model that is given answers.
pub(super) struct Likelihood<'a> {
    pub model: &'a Model,
    pub applied: Overlay<'a>,
    /// Answers that go through the model together.
    pub batch: usize,
    pub stop: &'a AtomicBool,
}

/// Of one answer: sums over its tokens, the one that ends it included.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// -ln p, in nats.
    loss: f64,
    /// KL(reference || model) over the whole vocabulary, in nats.
    kl: f64,
    tokens: usize,
}

/// Loss and KL per answer token; no KL where it isn't asked for.
type PerToken = (Vec<f32>, Vec<f32>);

impl Likelihood<'_> {
    /// Mean loss and, of a model that isn't the reference, KL per answer token.
    pub fn of_answers(&self, prompts: &[Prompt]) -> Result<(Option<Mean>, Option<Mean>)> {
        let rows: Vec<Row> = prompts.iter().filter_map(Prompt::to_row).collect();
        let sums = self.sums(&rows, &[])?;
        let mean = |of: fn(&Sums) -> f64| {
            let parts: Vec<_> = sums.iter().map(|sums| (of(sums), sums.tokens)).collect();
            Mean::per_token(&parts)
        };
        let kl = if self.applied.is_reference() { None } else { mean(|sums| sums.kl) };
        Ok((mean(|sums| sums.loss), kl))
    }

    /// The place of the likeliest choice of each prompt, by log-likelihood per token, so
    /// that short ones have no advantage; the first of equals. What the chat template
    /// writes before each answer, such as an empty thought, tells none from another.
    pub fn picks(&self, prompts: &[&Prompt]) -> Result<Vec<usize>> {
        let choices = |prompt: &&Prompt| {
            let choices = prompt.choices.iter();
            choices.map(|choice| prompt.answered(choice)).collect::<Vec<_>>()
        };
        let rows: Vec<Row> = prompts.iter().flat_map(choices).collect();
        let tokenizer = &self.model.tokenizer;
        let mut openings = Vec::with_capacity(rows.len());
        for prompt in prompts {
            let opening = tokenizer.encode_to_answer(prompt.chat())?;
            openings.extend(prompt.choices.iter().map(|_| opening.clone()));
        }
        let sums = self.sums(&rows, &openings)?;
        let mut sums = sums.iter().map(|sums| (-sums.loss, sums.tokens));
        let picks = prompts.iter().map(|prompt| {
            let scores: Vec<_> = sums.by_ref().take(prompt.choices.len()).collect();
            pick_choice(&scores).unwrap_or_default()
        });
        Ok(picks.collect())
    }

    /// In the order of the rows; of the tokens behind its opening, where a row has one.
    fn sums(&self, rows: &[Row], openings: &[Vec<u32>]) -> Result<Vec<Sums>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let samples =
            encode_chats(rows, usize::MAX, Overlong::Error, &self.model.tokenizer)?.samples;
        self.sums_of(&samples, openings, &|batch| self.per_token(batch))
    }

    /// Mean loss per answer token of rows that are encoded already.
    pub fn loss_of(&self, samples: &[Sample]) -> Result<Option<Mean>> {
        let sums = self.sums_of(samples, &[], &|batch| {
            let hidden = answer_rows(&self.model.decoder, self.applied, batch)?;
            let scores = self.model.decoder.label_log_probs(&hidden, &batch.labels)?;
            Ok((scores.iter().map(|score| -score).collect(), Vec::new()))
        })?;
        let parts: Vec<_> = sums.iter().map(|sums| (sums.loss, sums.tokens)).collect();
        Ok(Mean::per_token(&parts))
    }

    /// What `per_token` finds, added up for each sample.
    fn sums_of(
        &self,
        samples: &[Sample],
        openings: &[Vec<u32>],
        per_token: &dyn Fn(&PackedSamples) -> Result<PerToken>,
    ) -> Result<Vec<Sums>> {
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.sort_by_key(|index| samples[*index].tokens.len());
        let mut sums = vec![Sums::default(); samples.len()];
        for chunk in order.chunks(self.batch) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let members: Vec<&Sample> = chunk.iter().map(|index| &samples[*index]).collect();
            let batch = pack(&members);
            let (loss, kl) = per_token(&batch)?;
            for ((index, span), sample) in chunk.iter().zip(batch.offsets.windows(2)).zip(&members)
            {
                let opening = openings.get(*index).map_or(&[][..], Vec::as_slice);
                let span = span[0] as usize + opened(sample, opening)..span[1] as usize;
                let sum = |values: &[f32]| -> f64 { values.iter().copied().map(f64::from).sum() };
                sums[*index] = Sums {
                    loss: sum(&loss[span.clone()]),
                    kl: sum(kl.get(span.clone()).unwrap_or_default()),
                    tokens: span.len(),
                };
                if !(sums[*index].loss + sums[*index].kl).is_finite() {
                    return Err(not_finite(sample));
                }
            }
        }
        Ok(sums)
    }

    /// Loss per answer token, and KL unless this is the reference.
    fn per_token(&self, batch: &PackedSamples) -> Result<PerToken> {
        let decoder = &self.model.decoder;
        let hidden = answer_rows(decoder, self.applied, batch)?;
        if self.applied.is_reference() {
            let scores = decoder.label_log_probs(&hidden, &batch.labels)?;
            return Ok((scores.iter().map(|score| -score).collect(), Vec::new()));
        }
        let reference = answer_rows(decoder, Overlay::default(), batch)?;
        let none = vec![0.0; batch.labels.len()];
        let head = decoder.head_loss(HeadRows {
            hidden: &hidden,
            reference: Some(&reference),
            labels: &batch.labels,
            task_weights: &none,
            kl_weights: &none,
            subset: None,
        })?;
        Ok((head.task, head.kl))
    }
}

/// The final hidden states that predict answer tokens.
fn answer_rows(decoder: &Decoder, applied: Overlay, batch: &PackedSamples) -> Result<Tensor> {
    let hidden = decoder.infer(&batch.packed, applied, &[])?.hidden;
    let rows = Tensor::new(batch.rows.as_slice(), hidden.device())?;
    Ok(hidden.index_select(&rows, 0)?)
}

/// Answer tokens that belong to an opening: at least one is left.
fn opened(sample: &Sample, opening: &[u32]) -> usize {
    let same = sample.tokens.iter().zip(opening).take_while(|(one, other)| one == other).count();
    same.saturating_sub(sample.prompt_len).min(sample.answer_tokens().saturating_sub(1))
}

fn not_finite(sample: &Sample) -> Error {
    let problem = "the model's output on this answer isn't a finite number; lower the learning \
                   rate that it was trained with";
    Error::Data(data::Error::Encode { place: sample.place.clone(), message: problem.into() })
}
