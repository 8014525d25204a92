//! Samples laid out for the decoder: one sequence of rows without padding.

use std::borrow::Cow;
use std::iter;
use std::ops::Range;

use host_model::Packed;

use super::sample::Sample;

/// A micro-batch as the decoder and the loss take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedSamples {
    pub packed: Packed,
    /// Per answer token, in the order of the samples: the packed row that predicts
    /// it, which is the one before it.
    pub rows: Vec<u32>,
    /// Per answer token: the token.
    pub labels: Vec<u32>,
    /// Per answer token: the index of its sample.
    pub sample_of: Vec<usize>,
    /// Sample i owns the answer tokens `offsets[i]..offsets[i + 1]`.
    pub offsets: Vec<u32>,
}

/// Packs samples in their order.
pub fn pack(samples: &[&Sample]) -> PackedSamples {
    let (mut tokens, mut starts) = (Vec::new(), vec![0]);
    let (mut rows, mut labels, mut sample_of) = (Vec::new(), Vec::new(), Vec::new());
    for (index, sample) in samples.iter().enumerate() {
        let start = tokens.len();
        for position in sample.answer.iter().cloned().flatten() {
            rows.push((start + position - 1) as u32);
            labels.push(sample.tokens[position]);
            sample_of.push(index);
        }
        tokens.extend_from_slice(&sample.tokens);
        starts.push(tokens.len());
    }
    PackedSamples {
        packed: Packed { tokens, starts },
        rows,
        labels,
        sample_of,
        offsets: answer_offsets(samples),
    }
}

/// Offsets into a flat list of answer tokens: one more than there are samples.
pub fn answer_offsets(samples: &[&Sample]) -> Vec<u32> {
    let mut end = 0;
    let ends = samples.iter().map(|sample| {
        end += sample.answer_tokens() as u32;
        end
    });
    iter::once(0).chain(ends).collect()
}

/// Where in a sample an activation is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// The last token of the rendered prompt, before any answer token.
    LastPromptToken,
    /// The mean over the tokens before the first answer.
    PromptMean,
    /// The mean over the tokens of all answers.
    AnswerMean,
}

/// The packed rows of one position of every sample. A sample with several answers
/// has several ranges, whose means [`TapRanges::per_sample`] joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapRanges {
    /// For the decoder's taps: it returns the mean over each range.
    pub rows: Vec<Range<usize>>,
    /// Number of ranges of each sample.
    counts: Vec<usize>,
}

/// The rows of `position` in samples that were packed in this order.
pub fn tap_ranges(position: Position, samples: &[&Sample]) -> TapRanges {
    let mut ranges = TapRanges { rows: Vec::new(), counts: Vec::new() };
    let mut start = 0;
    for sample in samples {
        let prompt = sample.prompt_len;
        let local: Vec<_> = match position {
            Position::LastPromptToken => iter::once(prompt - 1..prompt).collect(),
            Position::PromptMean => iter::once(0..prompt).collect(),
            Position::AnswerMean => sample.answer.clone(),
        };
        ranges.counts.push(local.len());
        ranges.rows.extend(local.into_iter().map(|range| start + range.start..start + range.end));
        start += sample.tokens.len();
    }
    ranges
}

impl TapRanges {
    /// From one mean per range (ranges x `hidden`, flat) to one per sample: the
    /// mean over all the rows of the sample's ranges.
    pub fn per_sample<'v>(&self, values: &'v [f32], hidden: usize) -> Cow<'v, [f32]> {
        if self.counts.iter().all(|count| *count == 1) {
            return Cow::Borrowed(values);
        }
        let mut joined = Vec::with_capacity(self.counts.len() * hidden);
        let mut at = 0;
        for count in &self.counts {
            let ranges = &self.rows[at..at + count];
            let total: usize = ranges.iter().map(ExactSizeIterator::len).sum();
            let mut mean = vec![0f32; hidden];
            for (range, value) in ranges.iter().zip(values[at * hidden..].chunks_exact(hidden)) {
                let weight = range.len() as f32 / total as f32;
                mean.iter_mut().zip(value).for_each(|(mean, value)| *mean += weight * value);
            }
            joined.extend(mean);
            at += count;
        }
        Cow::Owned(joined)
    }
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
