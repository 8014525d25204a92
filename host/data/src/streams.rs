//! Task and alignment data as two streams that a policy mixes, step by step.
//!
//! Each stream goes round its samples in an order of its own, a function of the seed and
//! the epoch, and stands still while the other one is drawn from. A step has always as many
//! samples as the configuration says; [`ExtraStream`] adds alignment samples to them.

use serde::{Deserialize, Serialize};

use super::origin::Origin;
use super::plan::{Plan, order};
use super::samples::Stored;

/// Where a run stands in its streams. With the seed it decides every later draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Share of alignment samples in the next step; 0 until a policy has set it.
    pub share: f64,
    /// Samples that rounding owes to the alignment stream, in [-0.5, 0.5], so that the
    /// share holds over several steps.
    pub owed: f64,
    /// Samples drawn so far.
    pub task: u64,
    pub alignment: u64,
}

#[derive(Debug)]
pub struct Streams<'a> {
    task: Stream<'a>,
    alignment: Stream<'a>,
    batch: usize,
    pub mix: Mix,
    /// Smallest share that is ever set.
    least: f64,
}

/// Alignment samples in addition to the batch of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    /// Samples of the next step; 0 until a policy has set it.
    pub count: u32,
    /// Samples drawn so far.
    pub drawn: u64,
}

/// Draws the samples that a policy adds to every step, in an order of their own: what else
/// a step holds doesn't depend on them.
#[derive(Debug)]
pub struct ExtraStream<'a> {
    alignment: Stream<'a>,
    pub extra: Extra,
}

impl<'a> ExtraStream<'a> {
    /// None unless there are rows of alignment data.
    pub fn new(plan: &'a Plan) -> Option<Self> {
        let alignment = Stream::new(plan, Origin::Alignment, "extra alignment samples")?;
        Some(Self { alignment, extra: Extra::default() })
    }

    /// The samples that the next step has beyond its batch, shortest first.
    pub fn next_batch(&mut self) -> Vec<&'a Stored> {
        let count = self.extra.count as usize;
        let mut samples = self.alignment.draw(&mut self.extra.drawn, count);
        samples.sort_by_key(|sample| sample.tokens());
        samples
    }
}

#[derive(Debug)]
struct Stream<'a> {
    samples: Vec<&'a Stored>,
    /// Of the generator that orders them.
    name: &'static str,
    batch: usize,
    seed: u64,
    /// The epoch drawn from last.
    epoch: Option<(u64, Vec<usize>)>,
}

impl<'a> Streams<'a> {
    /// None unless there are rows of both origins.
    pub fn new(plan: &'a Plan) -> Option<Self> {
        let stream = |origin, name| Stream::new(plan, origin, name);
        Some(Self {
            task: stream(Origin::Task, "batches")?,
            alignment: stream(Origin::Alignment, "alignment batches")?,
            batch: plan.batch(),
            mix: Mix::default(),
            least: 0.0,
        })
    }

    /// Whatever share is set, it is at least the one that the data have.
    #[must_use]
    pub fn as_in_the_data(mut self) -> Self {
        let (task, alignment) = (self.task.samples.len(), self.alignment.samples.len());
        self.least = alignment as f64 / (task + alignment) as f64;
        self
    }

    /// The samples of the next step, shortest first.
    pub fn next_batch(&mut self) -> Vec<&'a Stored> {
        let mix = &mut self.mix;
        let wanted = mix.share * self.batch as f64 + mix.owed;
        let alignment = (wanted.round().max(0.0) as usize).min(self.batch);
        mix.owed = wanted - alignment as f64;
        let mut samples = self.task.draw(&mut mix.task, self.batch - alignment);
        samples.extend(self.alignment.draw(&mut mix.alignment, alignment));
        samples.sort_by_key(|sample| sample.tokens());
        samples
    }

    /// From the next step on; returns whether it is another share than before.
    pub fn set_share(&mut self, share: f64) -> bool {
        let share = share.max(self.least);
        let switches = share != self.mix.share;
        if switches {
            (self.mix.share, self.mix.owed) = (share, 0.0);
        }
        switches
    }
}

impl<'a> Stream<'a> {
    fn new(plan: &'a Plan, origin: Origin, name: &'static str) -> Option<Self> {
        let samples = plan.samples().iter();
        let samples: Vec<&Stored> = samples.filter(|sample| sample.origin() == origin).collect();
        (!samples.is_empty()).then(|| Self {
            samples,
            name,
            batch: plan.batch(),
            seed: plan.seed(),
            epoch: None,
        })
    }

    /// The next `count` samples; `drawn` counts them.
    fn draw(&mut self, drawn: &mut u64, count: usize) -> Vec<&'a Stored> {
        let places = *drawn..*drawn + count as u64;
        *drawn = places.end;
        places.map(|place| self.at(place)).collect()
    }

    fn at(&mut self, place: u64) -> &'a Stored {
        let size = self.samples.len() as u64;
        let (number, place) = (place / size, (place % size) as usize);
        if self.epoch.as_ref().is_none_or(|(known, _)| *known != number) {
            let lengths = self.samples.iter().map(|sample| sample.tokens());
            let lengths: Vec<usize> = lengths.collect();
            let steps = order(&lengths, self.batch, self.seed, self.name, number);
            self.epoch = Some((number, steps.concat()));
        }
        let order = self.epoch.as_ref().map_or(&[][..], |(_, order)| order);
        self.samples[order[place]]
    }
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
