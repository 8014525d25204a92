//! Through all steps of a run without taking them: how much work there is.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use host_data::{Plan, Sample, Stored};
use host_model::decoder::{Decoder, MicroBatchShape, StepMemory};
use host_model::lora::Lora;

use super::speed::products;
use super::{AnchorVisit, PolicyDemands};
use crate::config::{TrainConfig, TrainingNoise};
use crate::error::Result;
use crate::step::anchors::fit_beside;

/// What the steps of a run consist of.
pub struct StepPlan<'a> {
    plan: &'a Plan,
    noise: TrainingNoise,
    /// Of the first epoch, and of all after it.
    pub first: Work,
    pub later: Work,
    /// Every sample that a step holds, once.
    pub distinct: Distinct,
    /// The micro-batch that holds most, and what it holds; that is not known of the plain
    /// kernels.
    pub largest: MicroBatchShape,
    pub memory: Option<StepMemory>,
    /// Tokens, step and place in it of the first epoch's micro-batches, the shortest first.
    micro: Vec<(usize, u64, Range<usize>)>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    pub steps: u64,
    pub tokens: u64,
    pub answer_tokens: u64,
    /// Of one pass over all tokens.
    pub products: f64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Distinct {
    pub products: f64,
    /// What the reference's cache holds of them.
    pub bytes: u64,
}

impl<'a> StepPlan<'a> {
    pub fn new(
        plan: &'a Plan,
        (train, noise): (&TrainConfig, &TrainingNoise),
        decoder: &Decoder,
        adapter: &Lora,
        asked: Option<&PolicyDemands>,
    ) -> Self {
        let mut walk = Self {
            plan,
            noise: *noise,
            first: Work::default(),
            later: Work::default(),
            distinct: Distinct::default(),
            largest: MicroBatchShape {
                lengths: Vec::new(),
                answer_tokens: 0,
                has_kl: asked.is_some(),
                has_dropout: false,
            },
            memory: None,
            micro: Vec::new(),
        };
        let anchors = asked.map(|asked| &asked.anchors).filter(|_| noise.levels.are_zero());
        let mut seen = HashSet::new();
        for step in 0..plan.total_steps() {
            let samples = plan.step(step);
            let first = plan.cursor(step).epoch == 0;
            let part = if first { &mut walk.first } else { &mut walk.later };
            part.steps += 1;
            for sample in &samples {
                let work = products(&decoder.config, sample.tokens());
                part.tokens += sample.tokens() as u64;
                part.answer_tokens += sample.answer_tokens() as u64;
                part.products += work;
                if seen.insert(std::ptr::from_ref::<Stored>(sample)) {
                    walk.distinct.products += work;
                    walk.distinct.bytes += entry_bytes(sample, decoder, asked);
                }
            }
            let mut start = 0;
            for members in samples.chunks(train.micro_batch()) {
                let work = step_work(members, asked.is_some(), noise);
                let tokens: usize = work.lengths.iter().sum();
                if first {
                    let place = start..start + members.len();
                    walk.micro.push((tokens, step, place));
                }
                start += members.len();
                let work = beside(work, anchors.filter(|_| start == samples.len()));
                let memory = decoder.step_memory(adapter, &work);
                walk.keep_largest(work, memory);
            }
        }
        if asked.is_some_and(|asked| asked.adds_samples) {
            let work = step_work(&longest(plan, train.micro_batch()), true, noise);
            let work = beside(work, anchors);
            let memory = decoder.step_memory(adapter, &work);
            walk.keep_largest(work, memory);
        }
        walk.micro.sort_by_key(|(tokens, ..)| *tokens);
        walk
    }

    fn keep_largest(&mut self, work: MicroBatchShape, memory: Option<StepMemory>) {
        let size = |work: &MicroBatchShape, memory: Option<StepMemory>| {
            memory.map_or(work.lengths.iter().sum::<usize>() as u64, |memory| memory.peak)
        };
        if size(&work, memory) > size(&self.largest, self.memory) {
            (self.largest, self.memory) = (work, memory);
        }
    }

    /// A micro-batch of middling length, or as much of it as `fits`; at least one sample.
    ///
    /// # Errors
    /// If samples can't be read.
    pub fn typical(&self, fits: impl Fn(&MicroBatchShape) -> bool) -> Result<Vec<Cow<'a, Sample>>> {
        let (_, step, place) = &self.micro[self.micro.len() / 2];
        let mut samples = self.plan.step(*step)[place.clone()].to_vec();
        while samples.len() > 1 && !fits(&step_work(&samples, true, &self.noise)) {
            samples.truncate(samples.len() / 2);
        }
        Ok(self.plan.samples().read_all(&samples)?)
    }
}

/// The longest samples: no micro-batch of a step with more alignment samples holds more.
fn longest(plan: &Plan, count: usize) -> Vec<&Stored> {
    let mut samples: Vec<&Stored> = plan.samples().iter().collect();
    samples.sort_by_key(|sample| std::cmp::Reverse(sample.tokens()));
    samples.truncate(count);
    samples
}

/// With the anchors that go through the model with a micro-batch, if these do.
fn beside(mut work: MicroBatchShape, anchors: Option<&AnchorVisit>) -> MicroBatchShape {
    let sum = |lengths: &[usize]| lengths.iter().sum::<usize>();
    if let Some(anchors) = anchors.filter(|all| fit_beside(sum(&all.lengths), sum(&work.lengths))) {
        work.lengths.extend(&anchors.lengths);
        work.answer_tokens += anchors.answer_tokens;
    }
    work
}

fn step_work(samples: &[&Stored], held: bool, noise: &TrainingNoise) -> MicroBatchShape {
    MicroBatchShape {
        lengths: samples.iter().map(|sample| sample.tokens()).collect(),
        answer_tokens: samples.iter().map(|sample| sample.answer_tokens()).sum(),
        has_kl: held,
        has_dropout: noise.levels.dropout > 0.0,
    }
}

fn entry_bytes(sample: &Stored, decoder: &Decoder, asked: Option<&PolicyDemands>) -> u64 {
    let Some(asked) = asked else {
        return 0;
    };
    let hidden = sample.answer_tokens() * decoder.config.hidden_size;
    let size = decoder.weights.dtype().size_in_bytes();
    asked.references * (hidden * size + asked.tap_values * size_of::<f32>()) as u64
}
