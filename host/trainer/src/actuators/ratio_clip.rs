//! The clipped ratio to the reference, as weights of the cross-entropy.
//!
//! Proximal ranking policy optimization (arXiv 2409.09881; for safety 2407.19943) takes the
//! place of a task loss by -f, with x = P_current / P_reference of a token or of an answer:
//!
//! ```text
//! f = min(x, high) * direction   if direction >= 0
//!     max(x, low) * direction    otherwise
//! ```
//!
//! Its derivative by ln P_current is direction * x within the clip and 0 beyond it, so that
//! beyond it nothing is learned, whatever the data say. Cross-entropy has the derivative -1.
//! So cross-entropy with the weight direction * x takes the same step, and the loss head
//! needs to know nothing of ratios.
//!
//! The variance penalty, with n ratios x_i of weight v_i in the whole step, is
//! sqrt(1/n * mean (v_i x_i)^2). It is sqrt((1-d)/(d n) * mean of squared ratios) at
//! d = 1/2; for another d, v is to be multiplied by sqrt((1-d)/d).

use std::ops::Range;

use host_contract::RatioClip;

use crate::actuators::objective::TokenWeights;

/// ln of the largest ratio, e^60: what a gradient is clipped from, not what overflows.
const LARGEST: f64 = 60.0;

/// Some of a step's samples, with what both models say of their answer tokens.
pub struct Ratios<'a> {
    pub clips: &'a [RatioClip],
    /// First answer token of each sample, and the total.
    pub offsets: &'a [u32],
    pub current: &'a [f32],
    pub reference: &'a [f32],
}

/// The variance penalty of a whole step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalty {
    /// Sum of (v x)^2.
    pub squares: f64,
    /// Number of ratios.
    pub count: usize,
}

impl Penalty {
    pub fn value(self) -> f64 {
        self.squares.sqrt() / self.count.max(1) as f64
    }

    /// Derivative of the value by the logarithm of a ratio whose (v x)^2 is `square`.
    fn slope(self, square: f64) -> f64 {
        if square == 0.0 { 0.0 } else { square / (self.count as f64 * self.squares.sqrt()) }
    }
}

/// How many ratios a step has whose samples have these first answer tokens.
pub fn count(clips: &[RatioClip], offsets: &[u32]) -> usize {
    let bounds = clips.iter().zip(offsets.windows(2));
    bounds
        .map(|(clip, bounds)| if clip.sequence { 1 } else { (bounds[1] - bounds[0]) as usize })
        .sum()
}

impl Ratios<'_> {
    /// Some of the samples.
    pub fn of(&self, samples: Range<usize>) -> Self {
        Self {
            clips: &self.clips[samples.clone()],
            offsets: &self.offsets[samples.start..=samples.end],
            ..*self
        }
    }

    /// Each ratio with its clip and the answer tokens that it is of.
    fn each(&self) -> impl Iterator<Item = (&RatioClip, Range<usize>, f64)> {
        let samples = self.clips.iter().zip(self.offsets.windows(2));
        samples.flat_map(move |(clip, bounds)| {
            let tokens = bounds[0] as usize..bounds[1] as usize;
            let parts: Vec<Range<usize>> = if clip.sequence {
                std::iter::once(tokens).collect()
            } else {
                tokens.map(|token| token..token + 1).collect()
            };
            parts.into_iter().map(move |part| {
                let ratio = self.ratio(part.clone());
                (clip, part, ratio)
            })
        })
    }

    fn ratio(&self, tokens: Range<usize>) -> f64 {
        let pairs = self.current[tokens.clone()].iter();
        let pairs = pairs.zip(&self.reference[tokens]);
        let difference: f64 =
            pairs.map(|(current, reference)| f64::from(*current) - f64::from(*reference)).sum();
        difference.min(LARGEST).exp()
    }

    /// What these samples add to the squares of the step's penalty.
    pub fn squares(&self) -> f64 {
        self.each().map(|(clip, _, ratio)| (clip.variance_penalty * ratio).powi(2)).sum()
    }

    /// Puts -f, and the penalty, in the place of the task loss. An answer's ratio counts
    /// once, with the mean weight of its tokens.
    pub fn clip(&self, weights: &mut TokenWeights, penalty: Penalty) {
        for (clip, tokens, ratio) in self.each() {
            let (f, slope) = clipped(clip, ratio);
            let task = &mut weights.task[tokens.clone()];
            let pull = penalty.slope((clip.variance_penalty * ratio).powi(2));
            let mut sum = 0.0;
            let count = task.len();
            for (weight, current) in task.iter_mut().zip(&self.current[tokens]) {
                sum += f64::from(*weight);
                *weight = (f64::from(*weight) * slope - pull) as f32;
                // What the weighted cross-entropy will say has no place in the value.
                weights.constant += f64::from(*weight) * f64::from(*current);
            }
            weights.constant -= sum / count.max(1) as f64 * f;
        }
    }
}

/// f, and its derivative by ln x.
fn clipped(clip: &RatioClip, ratio: f64) -> (f64, f64) {
    let direction = clip.direction;
    let (bounded, inside) = if direction >= 0.0 {
        (ratio.min(clip.high), ratio < clip.high)
    } else {
        (ratio.max(clip.low), ratio > clip.low)
    };
    let slope = if inside { direction * ratio } else { clip.beyond * direction * ratio };
    (bounded * direction, slope)
}

#[cfg(test)]
#[path = "ratio_clip_tests.rs"]
mod tests;
