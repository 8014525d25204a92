//! Which answers are generated together, step by step.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};

use candle_core::{IndexOp, Tensor};
use host_model::{ChatTokenizer, DecodingBatch, Result, Sampler};
use tokio::sync::mpsc::UnboundedSender;

use super::ask::{Ask, Event, Failure, Finish, Job};
use super::score::{self, Scoring, scored};
use super::utterance::{Next, Utterance};
use super::{Gauges, Served};

/// Most prompt tokens that are run between two steps of those that are being answered, unless one prompt alone has more.
const PROMPT_TOKENS: usize = 2048;

/// One answer, its sampler and who wants it.
struct Sequence {
    place: usize,
    utterance: Utterance,
    sampler: Sampler,
    /// Tokens that come whatever the model finds likely.
    forced: VecDeque<u32>,
    events: UnboundedSender<(usize, Event)>,
}

impl Sequence {
    fn new(
        place: usize,
        ask: Ask,
        context: usize,
        events: UnboundedSender<(usize, Event)>,
    ) -> Self {
        let sampler = Sampler::new(&ask.sampling, ask.draws.0, ask.draws.1);
        let utterance = Utterance::new(ask, context);
        Self { place, utterance, sampler, forced: VecDeque::new(), events }
    }

    fn ask(&self) -> &Ask {
        self.utterance.ask()
    }

    fn is_wanted(&self) -> bool {
        !self.events.is_closed()
    }

    /// Whoever has gone needs no event.
    fn send(&self, event: Event) {
        let _ = self.events.send((self.place, event));
    }

    fn fail(self, error: &host_model::Error) {
        self.send(Event::Failed(Failure::Model(error.to_string())));
    }

    /// Takes the next token from the logits [vocabulary] of its place. The token, or why the answer ends.
    fn take(
        &mut self,
        tokenizer: &ChatTokenizer,
        logits: &Tensor,
    ) -> Result<std::result::Result<u32, Finish>> {
        let forced = self.forced.pop_front();
        let token = match forced {
            Some(token) => token,
            None => self.sampler.choose(logits)?,
        };
        let score = match self.ask().scores.filter(|_| forced.is_none()) {
            Some(top) => Some(scored(&logits.to_vec1::<f32>()?, token, top)),
            None => None,
        };
        if forced.is_none() && tokenizer.stop_tokens().contains(&token) {
            self.utterance.end(score);
            return Ok(Err(Finish::Stop));
        }
        match self.utterance.add(tokenizer, token, score)? {
            Next::Ends(finish) => return Ok(Err(finish)),
            Next::Closes(tokens) => self.forced = tokens.into(),
            Next::Goes => {}
        }
        if self.ask().stream {
            let news = self.utterance.news(tokenizer);
            if news != Default::default() {
                self.send(Event::Piece(news));
            }
        }
        Ok(Ok(token))
    }

    /// Tells the whole answer.
    fn finish(self, tokenizer: &ChatTokenizer, finish: Finish) {
        let Self { place, utterance, events, .. } = self;
        let event = match utterance.finish(tokenizer, finish) {
            Ok(answer) => Event::Done(Box::new(answer)),
            Err(error) => Event::Failed(Failure::Model(error.to_string())),
        };
        let _ = events.send((place, event));
    }
}

/// Everybody who asks.
pub struct Schedule<'a> {
    served: &'a Served,
    gauges: &'a Gauges,
    /// Most answers that are generated together.
    most: usize,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    batch: DecodingBatch<'a>,
}

impl<'a> Schedule<'a> {
    /// Without a question yet.
    pub fn new(served: &'a Served, gauges: &'a Gauges, most: usize) -> Self {
        let batch = DecodingBatch::new(&served.model.decoder, served.overlay());
        let most = most.max(1);
        Self { served, gauges, most, waiting: VecDeque::new(), running: Vec::new(), batch }
    }

    fn tokenizer(&self) -> &'a ChatTokenizer {
        &self.served.model.tokenizer
    }

    /// Answers until nobody can ask any more and all answers have ended.
    pub fn run(mut self, inbox: &Receiver<Job>) {
        loop {
            let is_idle = self.waiting.is_empty() && self.running.is_empty();
            if !self.listen(inbox, is_idle) && is_idle && self.waiting.is_empty() {
                return;
            }
            self.drop_unwanted();
            if let Err(error) = self.admit().and_then(|()| self.step()) {
                self.fail(&error);
            }
            self.count();
        }
    }

    /// Takes what was asked in the meantime; waits for something if there is nothing to do. Whether more may come.
    fn listen(&mut self, inbox: &Receiver<Job>, is_idle: bool) -> bool {
        if is_idle {
            match inbox.recv() {
                Ok(job) => self.enqueue(job),
                Err(_) => return false,
            }
        }
        loop {
            match inbox.try_recv() {
                Ok(job) => self.enqueue(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn enqueue(&mut self, job: Job) {
        let context = self.served.model.config.max_position;
        for (place, ask) in job.asks {
            self.waiting.push_back(Sequence::new(place, ask, context, job.events.clone()));
        }
    }

    /// Lets those go that nobody waits for, and those that won't begin any more.
    fn drop_unwanted(&mut self) {
        let before = self.waiting.len();
        if self.gauges.ending.load(Ordering::Relaxed) {
            for sequence in self.waiting.drain(..) {
                sequence.send(Event::Failed(Failure::Ending));
            }
        }
        self.waiting.retain(Sequence::is_wanted);
        self.gauges.waiting.fetch_sub(before - self.waiting.len(), Ordering::Relaxed);
        let keep: Vec<bool> = self.running.iter().map(Sequence::is_wanted).collect();
        if let Err(error) = self.keep(&keep) {
            self.fail(&error);
        }
    }

    fn keep(&mut self, keep: &[bool]) -> Result<()> {
        if keep.contains(&false) {
            let mut flags = keep.iter();
            self.running.retain(|_| flags.next().copied().unwrap_or(false));
            self.batch.retain(keep)?;
        }
        Ok(())
    }

    /// Lets those join for whom there is room, first come, first served.
    fn admit(&mut self) -> Result<()> {
        let room = DecodingBatch::most_tokens(&self.served.model.decoder);
        let mut held: usize = self.running.iter().map(|one| one.utterance.longest()).sum();
        let (mut joining, mut prompts) = (Vec::new(), 0);
        while let Some(next) = self.waiting.front() {
            held += next.utterance.longest();
            prompts += next.ask().prompt.len();
            let is_first = self.running.is_empty() && joining.is_empty();
            let has_place = self.running.len() + joining.len() < self.most;
            let is_short = prompts <= PROMPT_TOKENS || joining.is_empty();
            if !(is_first || has_place && held <= room && is_short) {
                break;
            }
            joining.extend(self.waiting.pop_front());
        }
        self.gauges.waiting.fetch_sub(joining.len(), Ordering::Relaxed);
        let joining = self.score(joining)?;
        let asked: Vec<&[u32]> = joining.iter().map(|one| one.ask().prompt.as_slice()).collect();
        match self.batch.join(&asked) {
            Ok(()) => {
                self.running.extend(joining);
                self.count();
                Ok(())
            }
            Err(error) => {
                joining.into_iter().for_each(|one| one.fail(&error));
                Err(error)
            }
        }
    }

    /// Scores the prompts of those that ask for it. Those go on that want more than that and one token.
    fn score(&self, joining: Vec<Sequence>) -> Result<Vec<Sequence>> {
        let (mut scored, others): (Vec<_>, Vec<_>) =
            joining.into_iter().partition(|one| one.ask().score_prompt);
        if scored.is_empty() {
            return Ok(others);
        }
        let asked: Vec<Scoring<'_>> = scored
            .iter()
            .map(|one| Scoring { prompt: &one.ask().prompt, top: one.ask().scores.unwrap_or(0) })
            .collect();
        let (decoder, overlay) = (&self.served.model.decoder, self.served.overlay());
        let found = match score::prompts(decoder, overlay, &asked) {
            Ok(found) => found,
            Err(error) => {
                scored.into_iter().chain(others).for_each(|one| one.fail(&error));
                return Err(error);
            }
        };
        drop(asked);
        let mut left = Vec::new();
        for (mut sequence, found) in scored.drain(..).zip(found) {
            sequence.utterance.set_prompt_scores(found.scores);
            match (sequence.ask().max_tokens, found.next) {
                (0, _) => sequence.finish(self.tokenizer(), Finish::Length),
                (1, Some(logits)) => self.say_one(sequence, &logits),
                _ => left.push(sequence),
            }
        }
        left.extend(others);
        Ok(left)
    }

    /// The one token that is wanted of an answer.
    fn say_one(&self, mut sequence: Sequence, logits: &Tensor) {
        match sequence.take(self.tokenizer(), logits) {
            Ok(Err(finish)) => sequence.finish(self.tokenizer(), finish),
            Ok(Ok(_)) => sequence.finish(self.tokenizer(), Finish::Length),
            Err(error) => sequence.fail(&error),
        }
    }

    /// One token for each answer.
    fn step(&mut self) -> Result<()> {
        if self.running.is_empty() {
            return Ok(());
        }
        let logits = self.batch.logits()?;
        let tokenizer = self.tokenizer();
        let mut tokens = Vec::with_capacity(self.running.len());
        let mut keep = Vec::with_capacity(self.running.len());
        let mut left = Vec::with_capacity(self.running.len());
        for (row, mut sequence) in std::mem::take(&mut self.running).into_iter().enumerate() {
            let taken =
                logits.i(row).map_err(Into::into).and_then(|row| sequence.take(tokenizer, &row));
            keep.push(matches!(taken, Ok(Ok(_))));
            match taken {
                Ok(Ok(token)) => {
                    tokens.push(token);
                    left.push(sequence);
                }
                Ok(Err(finish)) => sequence.finish(tokenizer, finish),
                // The others don't suffer from one.
                Err(error) => sequence.fail(&error),
            }
        }
        self.running = left;
        if keep.contains(&false) {
            self.batch.retain(&keep)?;
        }
        if self.running.is_empty() { Ok(()) } else { self.batch.advance(&tokens) }
    }

    /// Nobody who is there gets an answer; those who wait may.
    fn fail(&mut self, error: &host_model::Error) {
        self.running.drain(..).for_each(|one| one.fail(error));
        self.batch = DecodingBatch::new(&self.served.model.decoder, self.served.overlay());
    }

    fn count(&self) {
        self.gauges.running.store(self.running.len(), Ordering::Relaxed);
    }
}
