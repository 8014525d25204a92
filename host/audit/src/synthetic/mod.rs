//! Signals that no model made, for any policy.
//!
//! A policy says what it needs; this makes it, from a seed alone: activations of two
//! clusters, judges' scores, token log-probabilities, canary margins. Every sample has
//! a level from 0 (as harmless as the harmless examples) to 1 (as harmful as the
//! harmful ones), and all that concerns a sample depends on the sample alone, so that
//! steps can be permuted, cut and put together anew.

mod activations;
mod labelled;
mod stream;
mod subject;
mod tokens;

pub use subject::{Subject, run_info};

use host_contract::{
    Action, Canary, GradientConflict, JudgeScores, Judgement, JudgementStatus, Needs, Origin,
    Outcome, Sample, Signals, SteeringSignals, Trial,
};
use stream::Stream;

/// Prompts of the synthetic canary.
const CANARIES: u64 = 12;
const LEARNING_RATE: f64 = 1e-4;

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
    pub rows: Vec<Row>,
    /// What the signals of the run as a whole show (canary, trials, drift, the outcome
    /// before), from 0 (all is well) to 1 (safety is being lost).
    pub danger: f64,
    pub damage: Option<Damage>,
}

/// What is wrong with the measurement of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Damage {
    /// Every activation has this value.
    Activations(f32),
    /// Every log-probability and every margin has this value.
    Margins(f32),
    /// No judge gave a score, for this reason.
    Judges(JudgementStatus),
}

/// Makes the signals that `needs` asks for.
#[derive(Debug, Clone, Copy)]
pub struct Synthetic<'a> {
    pub needs: &'a Needs,
    /// Width of the residual stream.
    pub hidden: u32,
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

    #[must_use]
    pub fn damaged(self, damage: Damage) -> Self {
        Self { damage: Some(damage), ..self }
    }
}

impl Synthetic<'_> {
    /// Measures a step: what the needs ask for, and nothing else.
    pub fn signals(&self, step: &Step) -> Signals {
        let needs = self.needs;
        let taps = needs.taps.iter();
        let due = |every: u32| step.step.is_multiple_of(u64::from(every.max(1)));
        let scales = needs.trial_scales.iter();
        Signals {
            step: step.step,
            learning_rate: LEARNING_RATE,
            samples: step.rows.iter().map(sample).collect(),
            activations: taps.map(|tap| self.activations(tap, step)).collect(),
            judges: self.judges(&step.rows, step.damage),
            prefixes: self.prefixes(step),
            tokens: self.tokens(step),
            canary: needs.canary_every.filter(|every| due(*every)).map(|_| Canary {
                step: step.step,
                margins: self.margins("canary", step, step.danger),
            }),
            trials: scales
                .map(|scale| Trial {
                    scale: *scale,
                    margins: self.margins("trial", step, step.danger * scale.min(1.0)),
                })
                .collect(),
            gradient_conflict: needs.gradient_conflict.then_some(GradientConflict {
                task_norm: 1.0,
                alignment_norm: 0.5,
                dot: 0.4 - 0.8 * step.danger,
            }),
            drift: needs.drift.then_some(0.5 + 10.0 * step.danger),
            steering: needs.steering.as_ref().map(|need| SteeringSignals {
                coefficient: 1.0,
                cosines: need.layers.iter().map(|_| 0.8 - step.danger).collect(),
                margins_without: self.margins("without", step, step.danger),
                margins_with: self.margins("with", step, step.danger / 2.0),
            }),
            previous: step.step.checked_sub(1).map(|before| Outcome {
                step: before,
                action: Action::Update,
                task_loss: 1.2,
                kl: Some(0.01 + step.danger),
                gradient_norm: 1.0,
                learning_rate: LEARNING_RATE,
            }),
        }
    }

    /// Scores that follow the level.
    fn judges(&self, rows: &[Row], damage: Option<Damage>) -> Vec<JudgeScores> {
        let judgements: Vec<Judgement> =
            rows.iter().map(|row| judged(score(row.level), damage)).collect();
        let needs = self.needs.judges.iter();
        needs
            .map(|need| JudgeScores { judge: need.judge.clone(), judgements: judgements.clone() })
            .collect()
    }

    /// Positive where the model refuses, as it does while all is well.
    fn margins(&self, name: &str, step: &Step, danger: f64) -> Vec<f64> {
        if let Some(Damage::Margins(value)) = step.damage {
            return vec![value.into(); CANARIES as usize];
        }
        let mut noise = Stream::new(self.seed, name, &[step.step]);
        (0..CANARIES).map(|_| 4.0 - 8.0 * danger + 0.2 * noise.centred()).collect()
    }
}

/// On the scale of judges, from 1 (harmless) to 5 (harmful).
fn score(level: f64) -> f64 {
    1.0 + 4.0 * level
}

fn judged(score: f64, damage: Option<Damage>) -> Judgement {
    match damage {
        // As the interface has it: an unknown sample must not pass for a harmless one.
        Some(Damage::Judges(status)) => Judgement { status, score: 5.0 },
        _ => Judgement { status: JudgementStatus::Scored, score },
    }
}

fn sample(row: &Row) -> Sample {
    Sample {
        id: row.key,
        origin: Origin::Task,
        prompt_tokens: 12 + (row.key % 20) as u32,
        answer_tokens: answer_tokens(row),
    }
}

fn answer_tokens(row: &Row) -> u32 {
    4 + (row.key % 9) as u32
}

#[cfg(test)]
mod tests;
