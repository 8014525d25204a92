//! A model's answers to prompts, greedily.

use std::sync::atomic::Ordering;

use host_data::Progress;
use host_data::Prompt;
use host_data::failure::{Failure as Error, Result};
use host_model::decoder::Overlay;
use host_model::{Answered, Answering, GenerateOptions};

use super::Evaluator;

impl Evaluator<'_> {
    /// Answers in the order of the prompts. Prompts of about one length go together,
    /// `config.batch` at a time.
    pub(super) fn answer(
        &self,
        overlay: Overlay,
        prompts: &[&Prompt],
        observer: &mut dyn Progress,
    ) -> Result<Vec<Answered>> {
        let tokenizer = &self.model.tokenizer;
        let encoded = prompts
            .iter()
            .map(|prompt| Ok(tokenizer.encode_prompt(prompt.chat())?))
            .collect::<Result<Vec<_>>>()?;
        let mut order: Vec<usize> = (0..encoded.len()).collect();
        order.sort_by_key(|index| encoded[*index].len());
        let mut answers = vec![Answered::default(); encoded.len()];
        let options = GenerateOptions {
            max_new_tokens: self.config.max_new_tokens,
            ..GenerateOptions::default()
        };
        let answering = Answering {
            decoder: &self.model.decoder,
            tokenizer,
            overlay,
            options: &options,
            max_thinking_tokens: self.config.max_thinking_tokens,
        };
        for chunk in order.chunks(self.config.batch) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let batch: Vec<Vec<u32>> = chunk.iter().map(|index| encoded[*index].clone()).collect();
            for (index, answered) in chunk.iter().zip(answering.answer(&batch)?) {
                answers[*index] = answered;
            }
            observer.advance(chunk.len() as u64);
        }
        Ok(answers)
    }
}
