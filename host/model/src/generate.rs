//! Answers to many prompts at once.

use candle_core::IndexOp;

use crate::batch::DecodingBatch;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::pass::Overlay;
use crate::sampler::{Sampler, SamplingOptions};

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

impl GenerateOptions {
    fn sampling(&self) -> SamplingOptions {
        let Self { temperature, top_p, top_k, .. } = *self;
        SamplingOptions { temperature, top_p, top_k }
    }
}

/// A token that an answer goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewToken {
    /// Index of the prompt.
    pub prompt: usize,
    /// The token.
    pub token: u32,
}

/// Answer every prompt; the answers come in the order of the prompts, without the token of `stop` that ended them.
///
/// Prompts are packed without padding and decoded together with cached keys and values; where answers have ended, the
/// next prompts join. `progress` is called after every step with the new tokens. Greedy answers don't depend on which prompts
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
    progress: &mut dyn FnMut(&[NewToken]),
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
    options.sampling().check()
}

/// How many sequences are decoded together.
struct Room {
    sequences: usize,
    /// Of all sequences, prompts and answers.
    tokens: usize,
}

impl Room {
    fn new(decoder: &Decoder, options: &GenerateOptions) -> Self {
        Self { sequences: options.batch.max(1), tokens: DecodingBatch::most_tokens(decoder) }
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
    sampler: Sampler,
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
        let sampler = Sampler::new(&options.sampling(), options.seed, index as u64);
        Self { index, left, tokens, sampler }
    }
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
        progress: &mut dyn FnMut(&[NewToken]),
        answers: &mut [Vec<u32>],
    ) -> Result<()> {
        let mut there: Vec<Sequence> = Vec::new();
        let mut batch = DecodingBatch::new(self.decoder, self.overlay);
        loop {
            let joining = self.room.joining(&there, &waiting);
            if joining > 0 {
                let new: Vec<Sequence> = waiting.drain(..joining).collect();
                let asked: Vec<&[u32]> = new.iter().map(|s| prompts[s.index].as_slice()).collect();
                batch.join(&asked)?;
                there.extend(new);
            }
            if batch.is_empty() {
                return Ok(());
            }
            let tokens = self.step(&mut batch, &mut there, answers)?;
            progress(&tokens);
            if !there.is_empty() {
                let newest: Vec<u32> =
                    there.iter().filter_map(|s| answers[s.index].last().copied()).collect();
                batch.advance(&newest)?;
            }
        }
    }

    /// Chooses one token per sequence; finished sequences leave. Gives the tokens kept.
    fn step(
        &self,
        batch: &mut DecodingBatch<'_>,
        sequences: &mut Vec<Sequence>,
        answers: &mut [Vec<u32>],
    ) -> Result<Vec<NewToken>> {
        let logits = batch.logits()?;
        let mut keep = Vec::with_capacity(sequences.len());
        let mut tokens = Vec::with_capacity(sequences.len());
        for (row, sequence) in sequences.iter_mut().enumerate() {
            let token = sequence.sampler.choose(&logits.i(row)?)?;
            let stopped = self.stop.contains(&token);
            if !stopped {
                answers[sequence.index].push(token);
                tokens.push(NewToken { prompt: sequence.index, token });
                sequence.left -= 1;
            }
            keep.push(!stopped && sequence.left > 0);
        }
        if keep.contains(&false) {
            let mut flags = keep.iter();
            sequences.retain(|_| flags.next().copied().unwrap_or(false));
            batch.retain(&keep)?;
        }
        Ok(tokens)
    }
}
