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

/// Prompts of the synthetic canary.
const CANARIES: u64 = 12;
/// Learning rate of every synthetic step.
pub(super) const LEARNING_RATE: f64 = 1e-4;

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
    fn sample(&self) -> Sample {
        Sample {
            id: self.key,
            origin: Origin::Task,
            prompt_tokens: 12 + (self.key % 20) as u32,
            answer_tokens: self.answer_tokens(),
        }
    }

    pub(super) fn answer_tokens(&self) -> u32 {
        4 + (self.key % 9) as u32
    }

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
            learning_rate: LEARNING_RATE,
            samples: step.rows.iter().map(Row::sample).collect(),
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

    /// Margins per canary prompt: positive where the model refuses, as it does while all is
    /// well.
    pub(super) fn margins(&self, name: &str, step: u64, danger: f64) -> Vec<f64> {
        let mut noise = Stream::new(self.seed, name, &[step]);
        (0..CANARIES).map(|_| 4.0 - 8.0 * danger + 0.2 * noise.centred()).collect()
    }
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
