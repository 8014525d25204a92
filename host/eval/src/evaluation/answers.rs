//! A model's answers to prompts, greedily.

use std::sync::atomic::Ordering;

use host_data::Progress;
use host_data::failure::{Failure as Error, Result};
use host_model::decoder::Overlay;
use host_model::{Answered, Answering, GenerateOptions};

use super::Evaluator;
use super::asked::{Asked, Set};

/// Prompts that are answered before anything is told or a request to stop is looked at, in batches.
const ROUNDS: usize = 2;

impl Evaluator<'_> {
    /// Answers in the order of the prompts, without what each began with. Prompts of about one length go together,
    /// `config.batch` at a time: where an answer has ended, the next prompt takes its place.
    pub(super) fn answer(
        &self,
        overlay: Overlay,
        asked: &[Asked<'_>],
        observer: &mut dyn Progress,
    ) -> Result<Vec<Answered>> {
        let tokenizer = &self.model.tokenizer;
        let encoded = asked
            .iter()
            .map(|one| {
                let mut tokens = tokenizer.encode_prompt(one.prompt.chat())?;
                if !one.prefill.is_empty() {
                    tokens.extend(tokenizer.encode(one.prefill)?);
                }
                Ok(tokens)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut answers = vec![Answered::default(); encoded.len()];
        let is_task = |index: usize| asked[index].set == Set::Task;
        for task in [false, true] {
            let mut order: Vec<usize> =
                (0..encoded.len()).filter(|index| is_task(*index) == task).collect();
            order.sort_by_key(|index| encoded[*index].len());
            let most = self.config.max_new_tokens;
            let most = self.config.max_task_tokens.filter(|_| task).unwrap_or(most);
            let options = GenerateOptions {
                max_new_tokens: most,
                batch: self.config.batch,
                ..GenerateOptions::default()
            };
            let answering = Answering {
                decoder: &self.model.decoder,
                tokenizer,
                overlay,
                options: &options,
                max_thinking_tokens: self.config.max_thinking_tokens,
            };
            for chunk in order.chunks(ROUNDS * self.config.batch) {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                let batch: Vec<Vec<u32>> =
                    chunk.iter().map(|index| encoded[*index].clone()).collect();
                for (index, answered) in chunk.iter().zip(answering.answer(&batch)?) {
                    answers[*index] = answered;
                }
                observer.advance(chunk.len() as u64);
            }
        }
        Ok(answers)
    }
}
