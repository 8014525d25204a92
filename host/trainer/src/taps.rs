//! From a policy's taps to rows of a packed batch, and back to activations.

use host_model::decoder::TapRows;
use host_policy::wit::{Activations, Position, Tap};

use crate::data::{Sample, tap_ranges};

/// The rows to read for `taps` in a packed batch of `samples`: one entry per tap
/// and layer, in order.
pub fn rows(taps: &[Tap], samples: &[&Sample]) -> Vec<TapRows> {
    taps.iter()
        .flat_map(|tap| {
            let ranges = tap_ranges(tap.position, samples);
            tap.layers.iter().map(move |layer| TapRows { layer: *layer as usize, rows: ranges.clone() })
        })
        .collect()
}

/// What one sample's taps hold: per tap, layers x hidden values.
pub type SampleTaps = Vec<Vec<f32>>;

/// Splits the output of a forward over `rows(taps, samples)` by sample.
pub fn split(taps: &[Tap], outputs: &[Vec<f32>], samples: usize, hidden: usize) -> Vec<SampleTaps> {
    (0..samples)
        .map(|sample| {
            let mut outputs = outputs.iter();
            taps.iter()
                .map(|tap| {
                    let layers = outputs.by_ref().take(tap.layers.len());
                    layers.flat_map(|values| values[sample * hidden..(sample + 1) * hidden].iter().copied()).collect()
                })
                .collect()
        })
        .collect()
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
            let values: Vec<f32> = samples.clone().flat_map(|taps| taps[index].iter().copied()).collect();
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

/// The same tap read from a prompt alone, where no answer exists.
pub fn reads_answer(tap: &Tap) -> bool {
    tap.position == Position::AnswerMean
}

#[cfg(test)]
mod tests {
    use host_policy::wit::Source;

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
            (0..3).flat_map(|s| (0..2).map(move |u| (100 * layer + 10 * s + u) as f32)).collect::<Vec<f32>>()
        };
        let outputs = [output(1), output(4), output(2)];
        let samples = split(&taps, &outputs, 3, 2);
        assert_eq!(samples[1], [vec![110.0, 111.0, 410.0, 411.0], vec![210.0, 211.0]]);
        let gathered = gather(&taps, samples.iter(), 2);
        assert_eq!((gathered[0].samples, gathered[0].layers, gathered[0].hidden), (3, 2, 2));
        assert_eq!(gathered[0].values[4..8], [110.0, 111.0, 410.0, 411.0]);
        assert_eq!(gathered[1].values, output(2));
    }
}
