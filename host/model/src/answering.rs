//! What a model says to prompts, told apart from what it thinks first.

use crate::decoder::Decoder;
use crate::error::Result;
use crate::generate::{GenerateOptions, NewToken, generate};
use crate::pass::Overlay;
use crate::tokenizer::{ChatTokenizer, Spoken};

/// Tokens by which a thought goes on before it is looked at again.
const STRETCH: usize = 64;

/// A model that answers.
#[derive(Clone, Copy)]
pub struct Answering<'a> {
    /// The model.
    pub decoder: &'a Decoder,
    /// Its tokenizer.
    pub tokenizer: &'a ChatTokenizer,
    /// What is laid over the model.
    pub overlay: Overlay<'a>,
    /// How tokens are chosen; `max_new_tokens` are those of an answer, its thought not counted.
    pub options: &'a GenerateOptions,
    /// Tokens that a thought may have.
    pub max_thinking_tokens: usize,
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// Thought and answer.
    pub spoken: Spoken,
    /// Tokens that were generated.
    pub tokens: usize,
    /// Whether the thought was ended for the model, because it had no more room.
    pub thought_cut: bool,
}

/// A prompt on its way to an answer.
struct Asked<'a> {
    prompt: &'a Vec<u32>,
    tokens: Vec<u32>,
    spoken: Spoken,
    /// Whether the model has ended its turn.
    ended: bool,
    cut: bool,
    generated: usize,
}

impl Asked<'_> {
    fn thinks(&self) -> bool {
        !self.spoken.finished && !self.ended
    }

    fn so_far(&self) -> Vec<u32> {
        [self.prompt.as_slice(), &self.tokens].concat()
    }
}

impl Answering<'_> {
    /// An answer to every prompt, in their order; a model that doesn't think answers as [`generate`] has it.
    ///
    /// # Errors
    /// As [`generate`], and if a token isn't of the tokenizer.
    pub fn answer(&self, prompts: &[Vec<u32>]) -> Result<Vec<Answered>> {
        let first = self.generate(prompts, self.options.max_new_tokens, &mut |_| {})?;
        self.finish(prompts, first)
    }

    /// The answer to one prompt. `said` hears after every token what was said so far; a thought that has more room
    /// than an answer, and the answer behind it, come at once when they are complete.
    ///
    /// # Errors
    /// As [`Answering::answer`].
    pub fn stream(&self, prompt: &Vec<u32>, said: &mut dyn FnMut(&Spoken)) -> Result<Answered> {
        let mut tokens = Vec::new();
        let mut watch = |new: &[NewToken]| {
            tokens.extend(new.iter().map(|new| new.token));
            // What can't be decoded is told by the complete answer.
            if let Ok(spoken) = self.tokenizer.spoken(prompt, &tokens) {
                said(&spoken);
            }
        };
        let prompts = std::slice::from_ref(prompt);
        let first = self.generate(prompts, self.options.max_new_tokens, &mut watch)?;
        Ok(self.finish(prompts, first)?.pop().unwrap_or_default())
    }

    /// From the first tokens that were said to whole answers.
    fn finish(&self, prompts: &[Vec<u32>], first: Vec<Vec<u32>>) -> Result<Vec<Answered>> {
        let most = self.options.max_new_tokens;
        let mut asked = Vec::with_capacity(prompts.len());
        for (prompt, tokens) in prompts.iter().zip(first) {
            let spoken = self.tokenizer.spoken(prompt, &tokens)?;
            let (ended, generated) = (tokens.len() < most, tokens.len());
            let mut one = Asked { prompt, tokens, spoken, ended, cut: false, generated };
            self.limit_thought(&mut one)?;
            asked.push(one);
        }
        self.think(&mut asked)?;
        self.say(&mut asked)?;
        let answered = |asked: Asked<'_>| Answered {
            spoken: asked.spoken,
            tokens: asked.generated,
            thought_cut: asked.cut,
        };
        Ok(asked.into_iter().map(answered).collect())
    }

    /// Takes back what goes beyond the room of a thought where that is smaller than that of
    /// an answer.
    fn limit_thought(&self, one: &mut Asked<'_>) -> Result<()> {
        if one.spoken.thought_tokens <= self.max_thinking_tokens {
            return Ok(());
        }
        let kept = one.tokens.get(..self.max_thinking_tokens).unwrap_or(&one.tokens);
        let spoken = self.tokenizer.spoken(one.prompt, kept)?;
        // A cut within the mark that begins a thought would leave no thought to end.
        if !spoken.finished {
            one.tokens.truncate(self.max_thinking_tokens);
            (one.spoken, one.ended) = (spoken, false);
        }
        Ok(())
    }

    /// Lets those that still think go on, and ends thoughts that have no more room.
    fn think(&self, asked: &mut [Asked<'_>]) -> Result<()> {
        loop {
            let room = |one: &Asked<'_>| self.max_thinking_tokens.saturating_sub(one.tokens.len());
            let mut open: Vec<&mut Asked<'_>> =
                asked.iter_mut().filter(|one| one.thinks() && room(one) > 0).collect();
            let Some(least) = open.iter().map(|one| room(one)).min() else { break };
            self.extend(&mut open, least.min(STRETCH))?;
        }
        for one in asked.iter_mut().filter(|one| one.thinks()) {
            let close = self.tokenizer.end_of_thought(one.prompt, &one.tokens)?;
            one.tokens.extend(close);
            one.spoken = self.tokenizer.spoken(one.prompt, &one.tokens)?;
            one.spoken.thought_tokens = one.tokens.len();
            one.cut = true;
        }
        Ok(())
    }

    /// Gives an answer behind a thought as much room as one without.
    fn say(&self, asked: &mut [Asked<'_>]) -> Result<()> {
        let thought = |one: &&mut Asked<'_>| one.spoken.thought_tokens > 0 && !one.ended;
        let mut short: Vec<&mut Asked<'_>> = asked.iter_mut().filter(thought).collect();
        for one in &mut short {
            // What was said so far is said again, with the room that it has.
            one.tokens.truncate(one.spoken.thought_tokens);
        }
        self.extend(&mut short, self.options.max_new_tokens)
    }

    fn extend(&self, asked: &mut [&mut Asked<'_>], most: usize) -> Result<()> {
        let context = self.decoder.config.max_position;
        let mut fitting: Vec<&mut &mut Asked<'_>> = Vec::new();
        for one in asked.iter_mut() {
            if one.prompt.len() + one.tokens.len() < context {
                fitting.push(one);
            } else {
                one.ended = true;
            }
        }
        let prompts: Vec<Vec<u32>> = fitting.iter().map(|one| one.so_far()).collect();
        if prompts.is_empty() {
            return Ok(());
        }
        for (one, tokens) in fitting.into_iter().zip(self.generate(&prompts, most, &mut |_| {})?) {
            one.ended = tokens.len() < most;
            one.generated += tokens.len();
            one.tokens.extend(tokens);
            one.spoken = self.tokenizer.spoken(one.prompt, &one.tokens)?;
        }
        Ok(())
    }

    fn generate(
        &self,
        prompts: &[Vec<u32>],
        most: usize,
        progress: &mut dyn FnMut(&[NewToken]),
    ) -> Result<Vec<Vec<u32>>> {
        let options = GenerateOptions { max_new_tokens: most, ..self.options.clone() };
        let stop = self.tokenizer.stop_tokens();
        generate(self.decoder, self.overlay, prompts, stop, &options, progress)
    }
}
