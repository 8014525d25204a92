//! Answers to many prompts at once.

use candle_core::{Device, IndexOp, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::pass::{KvCache, Overlay, Packed};

/// How answers are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// An answer ends here at the latest (or where the model's context ends).
    pub max_new_tokens: usize,
    /// 0 is greedy: always the likeliest token, the first of equals.
    pub temperature: f64,
    /// Only the likeliest tokens that together have this probability.
    pub top_p: Option<f64>,
    /// Only this many of the likeliest tokens.
    pub top_k: Option<usize>,
    /// Seed of the draws; every prompt draws from its own stream, chosen by its place in the list.
    pub seed: u64,
    /// Most sequences that are decoded together.
    pub batch: usize,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { max_new_tokens: 256, temperature: 0.0, top_p: None, top_k: None, seed: 0, batch: 64 }
    }
}

/// Most memory that the keys and values of the sequences decoded together may take, in bytes.
const CACHE_BYTES: usize = 1 << 30;

/// Answer every prompt; the answers come in the order of the prompts, without the token of `stop` that ended them.
///
/// Prompts are packed without padding and decoded together with cached keys and values; where answers have ended, the
/// next prompts join. `progress` is called after every step with the number of new tokens. Greedy answers don't depend on which prompts
/// are in the batch, up to the rounding of matrix products of different height.
///
/// # Errors
/// [`Error::Batch`] for an empty or over-long prompt, options out of range, or a model whose output isn't finite.
pub fn generate<'a>(
    decoder: &Decoder,
    overlay: impl Into<Overlay<'a>>,
    prompts: &[Vec<u32>],
    stop: &[u32],
    options: &GenerateOptions,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<u32>>> {
    check(decoder, prompts, options)?;
    let overlay = overlay.into();
    let mut answers = vec![Vec::new(); prompts.len()];
    if options.max_new_tokens == 0 {
        return Ok(answers);
    }
    let waiting = (0..prompts.len()).map(|index| Sequence::new(decoder, prompts, index, options));
    let run = Run { decoder, overlay, stop, room: Room::new(decoder, options) };
    run.decode(prompts, waiting.collect(), progress, &mut answers)?;
    Ok(answers)
}

fn check(decoder: &Decoder, prompts: &[Vec<u32>], options: &GenerateOptions) -> Result<()> {
    let longest = decoder.config.max_position;
    for (index, prompt) in prompts.iter().enumerate() {
        if prompt.is_empty() {
            return Err(Error::batch(
                format!("prompt {} is empty", index + 1),
                "give it at least one token",
            ));
        }
        if prompt.len() >= longest {
            let problem = format!(
                "prompt {} has {} tokens, the model's context {longest}",
                index + 1,
                prompt.len()
            );
            return Err(Error::batch(problem, "shorten it"));
        }
    }
    if !(options.temperature.is_finite() && options.temperature >= 0.0) {
        return Err(Error::batch(
            format!("temperature is {}", options.temperature),
            "give 0 (greedy) or more",
        ));
    }
    if options.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        return Err(Error::batch("top-p is outside of 0 to 1", "give a probability above 0"));
    }
    if options.top_k == Some(0) {
        return Err(Error::batch("top-k is 0", "give at least 1, or leave it out"));
    }
    Ok(())
}

/// How many sequences are decoded together.
struct Room {
    sequences: usize,
    /// Of all sequences, prompts and answers.
    tokens: usize,
}

impl Room {
    fn new(decoder: &Decoder, options: &GenerateOptions) -> Self {
        let config = &decoder.config;
        let bytes_per_token =
            2 * config.num_layers * config.kv_size() * decoder.weights.dtype().size_in_bytes();
        Self { sequences: options.batch.max(1), tokens: CACHE_BYTES / bytes_per_token.max(1) }
    }

    /// How many of `waiting` join those that are there. None until a quarter of the places is free, so that they are
    /// prefilled together; always one where nobody is there.
    fn joining(&self, there: &[Sequence], waiting: &[Sequence]) -> usize {
        let free = self.sequences.saturating_sub(there.len());
        if free < waiting.len().min(self.sequences.div_ceil(4)) {
            return 0;
        }
        let mut tokens: usize = there.iter().map(|one| one.tokens).sum();
        let fits = |one: &&Sequence| {
            tokens += one.tokens;
            tokens <= self.tokens
        };
        let fitting = waiting.iter().take(free).take_while(fits).count();
        if there.is_empty() { fitting.max(1).min(waiting.len()) } else { fitting }
    }
}

/// An answer that is being generated.
struct Sequence {
    /// Which prompt it answers.
    index: usize,
    /// Tokens that may still come.
    left: usize,
    /// Of prompt and answer at their longest.
    tokens: usize,
    /// None for greedy.
    sampler: Option<LogitsProcessor>,
}

impl Sequence {
    fn new(
        decoder: &Decoder,
        prompts: &[Vec<u32>],
        index: usize,
        options: &GenerateOptions,
    ) -> Self {
        let room = decoder.config.max_position - prompts[index].len();
        let left = options.max_new_tokens.min(room);
        let tokens = prompts[index].len() + left;
        Self { index, left, tokens, sampler: sampler(options, index) }
    }

    fn choose(&mut self, logits: &Tensor) -> Result<u32> {
        match &mut self.sampler {
            Some(sampler) => Ok(sampler.sample(logits)?),
            None => likeliest(&logits.to_vec1::<f32>()?),
        }
    }
}

fn sampler(options: &GenerateOptions, index: usize) -> Option<LogitsProcessor> {
    let temperature = options.temperature;
    if temperature == 0.0 {
        return None;
    }
    let sampling = match (options.top_k, options.top_p) {
        (None, None) => Sampling::All { temperature },
        (Some(k), None) => Sampling::TopK { k, temperature },
        (None, Some(p)) => Sampling::TopP { p, temperature },
        (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
    };
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    random.set_stream(index as u64);
    Some(LogitsProcessor::from_sampling(random.next_u64(), sampling))
}

fn likeliest(logits: &[f32]) -> Result<u32> {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, logit) in (0u32..).zip(logits) {
        if *logit > best.1 {
            best = (id, *logit);
        }
    }
    if best.1.is_finite() {
        return Ok(best.0);
    }
    Err(Error::batch(
        "the model's output isn't a finite number",
        "check the weights, the adapter and the learning rate",
    ))
}

struct Run<'a> {
    decoder: &'a Decoder,
    overlay: Overlay<'a>,
    stop: &'a [u32],
    room: Room,
}

impl Run<'_> {
    fn decode(
        &self,
        prompts: &[Vec<u32>],
        mut waiting: Vec<Sequence>,
        progress: &mut dyn FnMut(usize),
        answers: &mut [Vec<u32>],
    ) -> Result<()> {
        let mut there: Vec<Sequence> = Vec::new();
        // Of those that are there: the rows to choose their next tokens from, and what they keep.
        let mut at: Option<(Tensor, KvCache)> = None;
        loop {
            let joining = self.room.joining(&there, &waiting);
            if joining > 0 {
                let new: Vec<Sequence> = waiting.drain(..joining).collect();
                let batch: Vec<&[u32]> = new.iter().map(|s| prompts[s.index].as_slice()).collect();
                let (hidden, cache) =
                    self.decoder.prefill(&Packed::from_sequences(&batch), self.overlay)?;
                at = Some(match at {
                    None => (hidden, cache),
                    Some((before, mut kept)) => {
                        kept.join(cache)?;
                        (Tensor::cat(&[before, hidden], 0)?, kept)
                    }
                });
                there.extend(new);
            }
            let Some((hidden, mut cache)) = at else { return Ok(()) };
            let tokens = self.step(&hidden, &mut there, &mut cache, answers)?;
            progress(tokens.len());
            at = if there.is_empty() {
                None
            } else {
                let newest: Vec<u32> =
                    there.iter().filter_map(|s| answers[s.index].last().copied()).collect();
                Some((self.decoder.decode_step(&newest, &mut cache, self.overlay)?, cache))
            };
        }
    }

    /// Choose one token per sequence from its last hidden row; finished sequences leave. Gives the tokens kept.
    fn step(
        &self,
        hidden: &Tensor,
        sequences: &mut Vec<Sequence>,
        cache: &mut KvCache,
        answers: &mut [Vec<u32>],
    ) -> Result<Vec<u32>> {
        // One transfer for all rows: reading a row on a device copies every row.
        let logits = self.decoder.logits(hidden)?.to_device(&Device::Cpu)?;
        let mut keep = Vec::with_capacity(sequences.len());
        let mut tokens = Vec::with_capacity(sequences.len());
        for (row, sequence) in sequences.iter_mut().enumerate() {
            let token = sequence.choose(&logits.i(row)?)?;
            let stopped = self.stop.contains(&token);
            if !stopped {
                answers[sequence.index].push(token);
                tokens.push(token);
                sequence.left -= 1;
            }
            keep.push(!stopped && sequence.left > 0);
        }
        if keep.contains(&false) {
            let mut flags = keep.iter();
            sequences.retain(|_| flags.next().copied().unwrap_or(false));
            if !sequences.is_empty() {
                cache.retain(&keep)?;
            }
        }
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_of_equals_wins_and_nonsense_is_refused() {
        assert_eq!(likeliest(&[0.0, 2.0, 2.0, 1.0]).unwrap(), 1);
        assert_eq!(likeliest(&[f32::NAN, -1.0]).unwrap(), 1);
        assert!(likeliest(&[f32::NAN, f32::NAN]).is_err());
        assert!(likeliest(&[f32::INFINITY]).is_err());
    }
}
