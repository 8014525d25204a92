//! What is asked of the model, and what comes back.

use std::collections::VecDeque;

use host_model::SamplingOptions;
use tokio::sync::mpsc::UnboundedSender;

/// One answer that is wanted.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Tokens to go on from.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// Seed and ChaCha stream of the draws.
    pub draws: (u64, u64),
    /// Tokens of the answer, a thought before it not counted.
    pub max_tokens: usize,
    /// Tokens of thought and answer together.
    pub max_all_tokens: Option<usize>,
    /// Tokens of a thought; none for a text in which no thought is looked for.
    pub max_thinking_tokens: Option<usize>,
    /// Texts that end the answer, which has none of them.
    pub stops: Vec<String>,
    /// Whether the answer is wanted piece by piece.
    pub stream: bool,
    /// Log-probabilities of the tokens of the answer, with those of so many likeliest ones.
    pub scores: Option<usize>,
    /// Also those of the prompt's tokens.
    pub score_prompt: bool,
    /// Also that of the token that ends the answer, which is no part of its text: who scores a prompt with one token more
    /// takes the last score away.
    pub score_stop: bool,
}

/// A token and how likely the model found it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The token.
    pub id: u32,
    /// ln p, before temperature and without any cut.
    pub log_prob: f32,
    /// The likeliest tokens at its place, the likeliest first.
    pub likeliest: Vec<(u32, f32)>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its turn, or a stop text came.
    Stop,
    /// It has as many tokens as it may have, or the model's context is full.
    Length,
}

/// A piece of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delta {
    /// More of the thought.
    pub thought: String,
    /// More of the answer.
    pub answer: String,
    /// Tokens of the answer that are new.
    pub scores: Vec<Scored>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the model thought first.
    pub thought: Option<String>,
    /// What it said.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens that were generated.
    pub tokens: usize,
    /// Of these, the ones of the thought.
    pub thought_tokens: usize,
    /// The tokens of the text, where they were asked for.
    pub scores: Vec<Scored>,
    /// The prompt's tokens, of which the first has no probability; where they were asked for.
    pub prompt_scores: Vec<Option<Scored>>,
    /// What a stream hasn't told yet.
    pub rest: Delta,
}

/// What happens to an answer that is wanted.
#[derive(Debug)]
pub enum Event {
    /// A piece of it, where they are wanted.
    Piece(Delta),
    /// All of it.
    Done(Box<Answer>),
    /// There is none, for a reason.
    Failed(Failure),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The program is ending.
    Ending,
    /// The model failed, in one line.
    Model(String),
}

/// Answers that are wanted together, and who wants them: by their places in `asks`.
pub struct Job {
    /// The answers.
    pub asks: VecDeque<(usize, Ask)>,
    /// Where events go. Closed as soon as nobody listens any more.
    pub events: UnboundedSender<(usize, Event)>,
}
