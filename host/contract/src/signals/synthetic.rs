//! Steps that no model made, for any policy.
//!
//! A policy says what it needs; every signal makes up its own part, from a seed alone:
//! activations of two clusters, judges' scores, token log-probabilities, canary margins.
//! Every sample has a level from 0 (as harmless as the harmless examples) to 1 (as harmful
//! as the harmful ones), and all that concerns a sample depends on the sample alone, so
//! that steps can be permuted, cut and put together anew.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use super::{Needs, SIGNALS, Signals};
use crate::types::{JudgementStatus, Origin, Sample};

/// One sample: which one, and how harmful.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Becomes the sample's id.
    pub key: u64,
    /// From 0 (harmless) to 1 (harmful).
    pub level: f64,
}

/// One optimizer step, before it is measured.
#[derive(Debug, Clone)]
pub struct Step {
    /// Counts from 0.
    pub step: u64,
    /// Samples of the step.
    pub rows: Vec<Row>,
    /// What the signals of the run as a whole show (canary, trials, drift, the outcome
    /// before), from 0 (all is well) to 1 (safety is being lost).
    pub danger: f64,
    /// What goes wrong when it is measured.
    pub damage: Option<Damage>,
}

/// What is wrong with the measurement of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Damage {
    /// Every activation has this value.
    Activations(f32),
    /// Every log-probability and every margin has this value.
    Margins(f32),
    /// Every norm, distance and loss has this value.
    Norms(f64),
    /// No judge gave a score, for this reason.
    Judges(JudgementStatus),
}

/// Makes the signals that `needs` asks for.
#[derive(Debug, Clone, Copy)]
pub struct Synthetic<'a> {
    /// What is asked for.
    pub needs: &'a Needs,
    /// Width of the residual stream.
    pub hidden: u32,
    /// The same seed makes the same signals.
    pub seed: u64,
}

impl Step {
    /// A step of samples that all have the level which the run as a whole has.
    pub fn of(samples: usize, level: f64) -> Self {
        Self::graded((0..samples).map(|_| level), level)
    }

    /// A step of samples of these levels.
    pub fn graded(levels: impl IntoIterator<Item = f64>, danger: f64) -> Self {
        let row = |(key, level)| Row { key, level };
        Self { step: 0, rows: (1..).zip(levels).map(row).collect(), danger, damage: None }
    }

    /// The same step, measured wrongly.
    #[must_use]
    pub fn damaged(self, damage: Damage) -> Self {
        Self { damage: Some(damage), ..self }
    }
}

impl Row {
    /// On the scale of judges, from 1 (harmless) to 5 (harmful).
    pub(super) fn score(&self) -> f64 {
        score(self.level)
    }
}

/// A level on the scale of judges.
pub(super) fn score(level: f64) -> f64 {
    1.0 + 4.0 * level
}

impl Synthetic<'_> {
    /// Measures a step: what the needs ask for, and nothing else.
    pub fn signals(&self, step: &Step) -> Signals {
        let mut signals = Signals {
            step: step.step,
            learning_rate: self.learning_rate(),
            samples: step.rows.iter().map(|row| self.sample(row)).collect(),
            ..Signals::default()
        };
        for signal in SIGNALS.iter().filter(|signal| signal.asked(self.needs)) {
            signal.synthesize(self, step, &mut signals);
            if let Some(damage) = step.damage.filter(|damage| signal.reached_by(*damage)) {
                signal.damage(&mut signals, damage);
            }
        }
        signals
    }

    /// Which row of the data it is, and how long: as in some run, and the same wherever the
    /// sample stands.
    fn sample(&self, row: &Row) -> Sample {
        let (first, stride) = (self.drawn("first id", 0.0, 1e4), self.drawn("stride", 1.0, 20.0));
        let longest = self.drawn("prompts", 20.0, 500.0);
        Sample {
            id: (first as u64).wrapping_add(row.key.wrapping_mul(stride as u64)),
            origin: Origin::Task,
            prompt_tokens: 8 + (longest * drawn(self.seed, "prompt", &[row.key])) as u32,
            answer_tokens: self.answer_tokens(row),
        }
    }

    pub(super) fn answer_tokens(&self, row: &Row) -> u32 {
        let longest = self.drawn("answers", 8.0, 40.0);
        3 + (longest * drawn(self.seed, "answer", &[row.key])) as u32
    }

    /// Scheduled learning rate of every step.
    pub(super) fn learning_rate(&self) -> f64 {
        1e-5 * 100_f64.powf(drawn(self.seed, "learning rate", &[]))
    }

    /// A number of the run in a range that is plausible for it.
    pub(super) fn drawn(&self, name: &str, low: f64, high: f64) -> f64 {
        low + (high - low) * drawn(self.seed, name, &[])
    }

    /// Margins per canary prompt: positive where the model refuses, as it does while all is
    /// well.
    pub(super) fn margins(&self, name: &str, step: u64, danger: f64) -> Vec<f64> {
        let mut noise = Stream::new(self.seed, name, &[step]);
        let (prompts, width) = (self.drawn("canaries", 6.0, 40.0), self.drawn("width", 2.0, 6.0));
        let margin = |_| width * (1.0 - 2.0 * danger) + 0.2 * noise.centred();
        (0..prompts as u64).map(margin).collect()
    }
}

/// Uniform in [0, 1): a function of seed, name and place alone.
pub fn drawn(seed: u64, name: &str, place: &[u64]) -> f64 {
    Stream::new(seed, name, place).unit()
}

/// Uniform numbers by name, the same on every machine: no logarithm or cosine, whose last
/// bit differs between machines.
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    /// The same name, the same numbers.
    pub(super) fn new(seed: u64, name: &str, place: &[u64]) -> Self {
        let mut hash = Sha256::new_with_prefix(seed.to_le_bytes());
        hash.update(name.as_bytes());
        for number in place {
            hash.update(number.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// Uniform with mean 0 and standard deviation 1.
    pub(super) fn centred(&mut self) -> f64 {
        (2.0 * self.unit() - 1.0) * 1.732_050_807_568_877_2
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// 1 or -1.
    pub(super) fn sign(&mut self) -> f64 {
        if self.0.next_u32().is_multiple_of(2) { 1.0 } else { -1.0 }
    }
}
