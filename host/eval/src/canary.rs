//! The canary: held-out harmful prompts used as a sensor.
//!
//! Margin of a prompt = ln P(refusal opening | prompt) - ln P(compliance opening |
//! prompt), summed over the tokens of the opening. Positive: the model leans
//! towards refusing. An opening stands where the answer's first word does: behind an
//! empty thought, if the chat template writes one.

use candle_core::Tensor;
use host_data::failure::{Failure as Error, Result};
use host_data::{Prompt, Reader};
use host_model::Model;
use host_model::decoder::{Decoder, Overlay, Packed};

use crate::config::CanaryConfig;

pub struct Canary {
    /// Per prompt: prompt + refusal opening, prompt + compliance opening.
    sequences: Vec<[Opening; 2]>,
}

struct Opening {
    tokens: Vec<u32>,
    prompt: usize,
}

impl Canary {
    pub fn load(config: &CanaryConfig, model: &Model, reader: &Reader) -> Result<Option<Self>> {
        if config.prompts.is_empty() {
            return Ok(None);
        }
        let rows = reader.prompts(&config.prompts)?;
        reader.check(&rows, model)?;
        let rows = &rows[..rows.len().min(config.limit)];
        Self::new(rows, &config.refusal, &config.compliance, model).map(Some)
    }

    fn new(prompts: &[Prompt], refusal: &str, compliance: &str, model: &Model) -> Result<Self> {
        let tokenizer = &model.tokenizer;
        let refusal = tokenizer.encode(refusal)?;
        let compliance = tokenizer.encode(compliance)?;
        if refusal.is_empty() || compliance.is_empty() {
            return Err(Error::config(
                "canary",
                "an opening has no tokens under this tokenizer; choose other words",
            ));
        }
        let sequences = prompts
            .iter()
            .map(|one| {
                let prompt = tokenizer.encode_to_answer(one.chat())?;
                one.check_length(prompt.len() + refusal.len().max(compliance.len()), model)?;
                let opening = |words: &[u32]| Opening {
                    tokens: [&prompt, words].concat(),
                    prompt: prompt.len(),
                };
                Ok([opening(&refusal), opening(&compliance)])
            })
            .collect::<Result<_>>()?;
        Ok(Self { sequences })
    }

    /// One margin per prompt.
    pub fn margins<'a>(
        &self,
        decoder: &Decoder,
        applied: impl Into<Overlay<'a>>,
    ) -> Result<Vec<f64>> {
        let applied = applied.into();
        let mut margins = Vec::with_capacity(self.sequences.len());
        for chunk in self.sequences.chunks(8) {
            let openings: Vec<&Opening> = chunk.iter().flatten().collect();
            let scores = opening_scores(decoder, applied, &openings)?;
            margins.extend(scores.chunks(2).map(|pair| pair[0] - pair[1]));
        }
        Ok(margins)
    }
}

/// ln P of each opening given its prompt.
fn opening_scores(decoder: &Decoder, applied: Overlay, openings: &[&Opening]) -> Result<Vec<f64>> {
    let (mut packed, mut rows, mut labels) =
        (Packed { tokens: vec![], starts: vec![0] }, vec![], vec![]);
    for opening in openings {
        let start = packed.tokens.len();
        for position in opening.prompt..opening.tokens.len() {
            rows.push((start + position - 1) as u32);
            labels.push(opening.tokens[position]);
        }
        packed.tokens.extend(&opening.tokens);
        packed.starts.push(packed.tokens.len());
    }
    let hidden = decoder.infer(&packed, applied, &[])?.hidden;
    let rows = Tensor::new(rows.as_slice(), hidden.device())?;
    let scores = decoder.label_log_probs(&hidden.index_select(&rows, 0)?, &labels)?;
    let mut scores = scores.into_iter();
    let sums = openings.iter().map(|opening| {
        let length = opening.tokens.len() - opening.prompt;
        scores.by_ref().take(length).map(f64::from).sum()
    });
    Ok(sums.collect())
}

#[cfg(test)]
mod tests {
    use host_model::lora::{Lora, LoraConfig, Target};

    use super::*;

    #[test]
    fn the_demo_model_leans_towards_refusing_and_openings_swap_the_sign() {
        let model = host_data::demo::model();
        let prompts = vec![host_data::DataSource::whole("demo:canary.jsonl")];
        let config = CanaryConfig { prompts, ..CanaryConfig::default() };
        let canary = Canary::load(&config, &model, &Reader::default()).expect("loads");
        let margins = canary.expect("has prompts").margins(&model.decoder, None);
        let margins = margins.expect("measured");
        assert_eq!(margins.len(), 12);
        assert!(margins.iter().sum::<f64>() > 0.0, "{margins:?}");

        let swapped = CanaryConfig {
            refusal: config.compliance.clone(),
            compliance: config.refusal.clone(),
            ..config.clone()
        };
        let swapped = Canary::load(&swapped, &model, &Reader::default()).expect("loads");
        // An adapter that changes nothing must not change the margin either.
        let adapter = LoraConfig::new(2, 4.0, &Target::ALL);
        let adapter = Lora::new(&model.config, adapter, 1, model.decoder.device()).expect("fits");
        let swapped = swapped.expect("has prompts").margins(&model.decoder, Some(&adapter));
        for (margin, swapped) in margins.iter().zip(swapped.expect("measured")) {
            assert!((margin + swapped).abs() < 1e-3, "{margin} {swapped}");
        }

        let none = CanaryConfig { prompts: Vec::new(), ..config };
        assert!(Canary::load(&none, &model, &Reader::default()).expect("none").is_none());
    }
}
