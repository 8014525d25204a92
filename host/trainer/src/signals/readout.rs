//! What is known of a step before the policies speak: the step itself, and what the two
//! models show of its samples.

use host_contract::{self as wit, Needs, Source, Tap};
use host_data::{Sample, answer_offsets};

use super::taps::{self, SampleTaps};
use crate::error::Result;
use crate::ranks::Ranks;

/// Where activations are read, by the model they are read from.
#[derive(Default)]
pub struct Taps {
    pub reference: Vec<Tap>,
    pub current: Vec<Tap>,
}

impl Taps {
    /// Those that any policy asks for, each once.
    pub fn of<'n>(needs: impl Iterator<Item = &'n Needs>) -> Self {
        let mut taps = Self::default();
        for tap in needs.flat_map(|needs| &needs.taps) {
            let known = match tap.source {
                Source::Reference => &mut taps.reference,
                Source::Current => &mut taps.current,
            };
            if !known.contains(tap) {
                known.push(tap.clone());
            }
        }
        taps
    }
}

/// What one model shows of samples, in their order; nothing of what nobody asked for.
#[derive(Clone, Default)]
pub struct ModelReadout {
    pub taps: Vec<SampleTaps>,
    /// Of all answer tokens.
    pub log_probs: Vec<f32>,
}

/// The mean of each sample's values; `offsets` holds the first answer token of each sample, and
/// the total.
pub fn sample_means(offsets: &[u32], values: &[f32]) -> Vec<f64> {
    let of_sample = |bounds: &[u32]| {
        let values = &values[bounds[0] as usize..bounds[1] as usize];
        let sum: f64 = values.iter().map(|value| f64::from(*value)).sum();
        sum / values.len().max(1) as f64
    };
    offsets.windows(2).map(of_sample).collect()
}

/// What a step's samples show, for the policies to be told.
pub struct Readouts {
    pub reference: ModelReadout,
    pub current: ModelReadout,
}

impl ModelReadout {
    /// From the shard of each rank to the whole step, on the root.
    pub fn gather(&self, taps: &[Tap], width: usize, ranks: &Ranks) -> Result<Self> {
        if ranks.size() == 1 {
            return Ok(self.clone());
        }
        let flat = self.taps.iter().flatten().flatten().copied().collect();
        Ok(Self {
            taps: taps::by_sample(taps, &ranks.gather(flat)?, width),
            log_probs: ranks.gather(self.log_probs.clone())?,
        })
    }
}

/// What the loop knows of a step before the policy speaks.
pub struct StepContext<'a> {
    pub step: u64,
    pub learning_rate: f64,
    pub samples: Vec<&'a Sample>,
    /// First answer token of each sample, and the total.
    pub offsets: Vec<u32>,
    pub previous: Option<wit::Outcome>,
    /// Of the step before.
    pub gradient_conflict: Option<wit::GradientConflict>,
    /// Per sample, on the root.
    pub gradient_agreement: Option<Vec<f64>>,
    /// Of the last visit, on the root.
    pub anchors: Option<wit::AnchorSignals>,
    /// At each scale that any policy asked for.
    pub trials: Vec<wit::Trial>,
}

impl<'a> StepContext<'a> {
    pub fn new(
        step: u64,
        learning_rate: f64,
        samples: &[&'a Sample],
        previous: Option<wit::Outcome>,
    ) -> Self {
        Self {
            step,
            learning_rate,
            samples: samples.to_vec(),
            offsets: answer_offsets(samples),
            previous,
            gradient_conflict: None,
            gradient_agreement: None,
            anchors: None,
            trials: Vec::new(),
        }
    }
}

impl StepContext<'_> {
    /// Of the whole step.
    pub fn answer_tokens(&self) -> usize {
        self.offsets.last().map_or(0, |total| *total as usize)
    }
}
