//! From a policy's taps to rows of a packed batch, and back to activations.

use host_contract::{Activations, Position, Tap};
use host_model::decoder::TapRows;

use host_data::{Sample, TapRanges, tap_ranges};

/// What one sample's taps hold: per tap, layers x hidden values.
pub type SampleTaps = Vec<Vec<f32>>;

/// The rows that taps read in a packed batch of samples.
pub struct Reading<'t> {
    taps: &'t [Tap],
    ranges: Vec<TapRanges>,
    samples: usize,
}

impl<'t> Reading<'t> {
    pub fn new(taps: &'t [Tap], samples: &[&Sample]) -> Self {
        let ranges = taps.iter().map(|tap| tap_ranges(position(tap), samples)).collect();
        Self { taps, ranges, samples: samples.len() }
    }

    /// For the decoder: one entry per tap and layer, in order.
    pub fn rows(&self) -> Vec<TapRows> {
        let pairs = self.taps.iter().zip(&self.ranges);
        let rows = pairs.flat_map(|(tap, ranges)| {
            tap.layers
                .iter()
                .map(|layer| TapRows { layer: *layer as usize, rows: ranges.rows.clone() })
        });
        rows.collect()
    }

    /// Splits what the decoder read (per entry of `rows`, ranges x hidden) by sample.
    pub fn by_sample(&self, outputs: Vec<Vec<f32>>, hidden: usize) -> Vec<SampleTaps> {
        let mut samples: Vec<SampleTaps> = vec![vec![Vec::new(); self.taps.len()]; self.samples];
        let mut outputs = outputs.into_iter();
        for (index, (tap, ranges)) in self.taps.iter().zip(&self.ranges).enumerate() {
            for output in outputs.by_ref().take(tap.layers.len()) {
                let means = ranges.per_sample(&output, hidden);
                for (sample, mean) in samples.iter_mut().zip(means.chunks_exact(hidden)) {
                    sample[index].extend_from_slice(mean);
                }
            }
        }
        samples
    }
}

fn position(tap: &Tap) -> host_data::Position {
    match tap.position {
        Position::LastPromptToken => host_data::Position::LastPromptToken,
        Position::PromptMean => host_data::Position::PromptMean,
        Position::AnswerMean => host_data::Position::AnswerMean,
    }
}

/// Puts samples side by side again: one `Activations` of shape
/// samples x layers x hidden per tap.
pub fn gather<'a>(
    taps: &[Tap],
    samples: impl Iterator<Item = &'a SampleTaps> + Clone,
    hidden: usize,
) -> Vec<Activations> {
    taps.iter()
        .enumerate()
        .map(|(index, tap)| {
            let values: Vec<f32> =
                samples.clone().flat_map(|taps| taps[index].iter().copied()).collect();
            Activations {
                tap: tap.clone(),
                samples: samples.clone().count() as u32,
                layers: tap.layers.len() as u32,
                hidden: hidden as u32,
                values,
            }
        })
        .collect()
}

/// Splits flat values (samples x what their taps hold) by sample.
pub fn by_sample(taps: &[Tap], values: &[f32], hidden: usize) -> Vec<SampleTaps> {
    let lengths: Vec<usize> = taps.iter().map(|tap| tap.layers.len() * hidden).collect();
    let samples = values.chunks_exact(lengths.iter().sum::<usize>().max(1));
    let split = samples.map(|mut values| {
        let tap = |length: &usize| {
            let (tap, rest) = values.split_at(*length);
            values = rest;
            tap.to_vec()
        };
        lengths.iter().map(tap).collect()
    });
    split.collect()
}

/// The same tap read from a prompt alone, where no answer exists.
pub fn reads_answer(tap: &Tap) -> bool {
    tap.position == Position::AnswerMean
}

#[cfg(test)]
mod tests {
    use host_contract::Source;

    use super::*;

    #[test]
    fn split_and_gather_keep_samples_layers_and_units_in_order() {
        let tap = |layers: &[u32]| Tap {
            source: Source::Reference,
            position: Position::LastPromptToken,
            layers: layers.to_vec(),
        };
        let taps = [tap(&[1, 4]), tap(&[2])];
        // Value = 100 * layer + 10 * sample + unit.
        let output = |layer: usize| {
            (0..3)
                .flat_map(|s| (0..2).map(move |u| (100 * layer + 10 * s + u) as f32))
                .collect::<Vec<f32>>()
        };
        let outputs = [output(1), output(4), output(2)];
        let members: Vec<Sample> = (0..3).map(|_| Sample::prompt_only(vec![1, 2])).collect();
        let reading = Reading::new(&taps, &members.iter().collect::<Vec<_>>());
        assert_eq!(reading.rows()[1].layer, 4);
        assert_eq!(reading.rows()[1].rows, [1..2, 3..4, 5..6]);
        let samples = reading.by_sample(outputs.to_vec(), 2);
        assert_eq!(samples[1], [vec![110.0, 111.0, 410.0, 411.0], vec![210.0, 211.0]]);
        let gathered = gather(&taps, samples.iter(), 2);
        assert_eq!((gathered[0].samples, gathered[0].layers, gathered[0].hidden), (3, 2, 2));
        assert_eq!(gathered[0].values[4..8], [110.0, 111.0, 410.0, 411.0]);
        assert_eq!(gathered[1].values, output(2));

        let flat: Vec<f32> = samples.iter().flatten().flatten().copied().collect();
        assert_eq!(by_sample(&taps, &flat, 2), samples);
        assert!(by_sample(&[], &[], 2).is_empty());
    }
}
