//! A model's answers to prompts, greedily.

use std::sync::atomic::Ordering;

use host_data::Progress;
use host_data::Prompt;
use host_data::failure::{Failure as Error, Result};
use host_model::decoder::Overlay;
use host_model::generate::{GenerateOptions, generate};

use super::Evaluator;

/// Answers in the order of the prompts, and how many tokens they have.
pub(super) struct Answers {
    pub texts: Vec<String>,
    pub tokens: usize,
}

impl Evaluator<'_> {
    /// Prompts of about one length go together, `config.batch` at a time.
    pub(super) fn answer(
        &self,
        applied: Overlay,
        prompts: &[&Prompt],
        observer: &mut dyn Progress,
    ) -> Result<Answers> {
        let tokenizer = &self.model.tokenizer;
        let encoded = prompts
            .iter()
            .map(|prompt| Ok(tokenizer.encode_prompt(prompt.chat())?))
            .collect::<Result<Vec<_>>>()?;
        let mut order: Vec<usize> = (0..encoded.len()).collect();
        order.sort_by_key(|index| encoded[*index].len());
        let mut answers = Answers { texts: vec![String::new(); encoded.len()], tokens: 0 };
        let options = GenerateOptions {
            max_new_tokens: self.config.max_new_tokens,
            ..GenerateOptions::default()
        };
        for chunk in order.chunks(self.config.batch) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let batch: Vec<Vec<u32>> = chunk.iter().map(|index| encoded[*index].clone()).collect();
            let generated = generate(
                &self.model.decoder,
                applied,
                &batch,
                tokenizer.stop_tokens(),
                &options,
                &mut |_| {},
            )?;
            for (index, tokens) in chunk.iter().zip(generated) {
                answers.texts[*index] = tokenizer.decode(&tokens)?;
                answers.tokens += tokens.len();
            }
            observer.advance(chunk.len() as u64);
        }
        Ok(answers)
    }
}
