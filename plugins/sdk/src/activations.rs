//! Reading activations.

use crate::bindings::{Activations, Source};

impl Activations {
    /// Where `layer` stands in the tap.
    ///
    /// # Errors
    /// If the tap has no such layer.
    pub fn layer_index(&self, layer: u32) -> Result<usize, String> {
        self.tap.layers.iter().position(|l| *l == layer).ok_or_else(|| {
            format!(
                "activations of layer {layer} are needed, the tap delivers layers {:?}",
                self.tap.layers
            )
        })
    }

    /// The activation of one sample at the layer of this index within the tap:
    /// `hidden` values.
    ///
    /// # Errors
    /// If the values are fewer than the shape says, or not finite.
    pub fn row(&self, sample: usize, layer_index: usize) -> Result<&[f32], String> {
        let hidden = self.hidden as usize;
        let start = (sample * self.layers as usize + layer_index) * hidden;
        let row = self.values.get(start..start + hidden).ok_or_else(|| {
            format!("the activations end before sample {sample}, layer index {layer_index}")
        })?;
        if row.iter().all(|value| value.is_finite()) {
            return Ok(row);
        }
        let source = match self.tap.source {
            Source::Reference => "the reference",
            Source::Current => "the model in training",
        };
        let layer = self.tap.layers.get(layer_index).copied().unwrap_or_default();
        Err(format!("the activation of sample {sample} at layer {layer} of {source} is not finite"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bindings::{Position, Tap};

    fn activations() -> Activations {
        Activations {
            tap: Tap {
                source: Source::Reference,
                position: Position::LastPromptToken,
                layers: vec![2, 5],
            },
            samples: 2,
            layers: 2,
            hidden: 3,
            values: (0..12).map(|v| v as f32).collect(),
        }
    }

    #[test]
    fn rows_are_samples_by_layers_by_hidden() {
        let a = activations();
        let index = a.layer_index(5).unwrap();
        assert_eq!(a.row(0, index).unwrap(), [3.0, 4.0, 5.0]);
        assert_eq!(a.row(1, index).unwrap(), [9.0, 10.0, 11.0]);
    }

    #[test]
    fn absent_layers_short_lists_and_nan_are_errors() {
        let mut a = activations();
        assert!(a.layer_index(3).unwrap_err().contains("layer 3"));
        assert!(a.row(2, 0).unwrap_err().contains("sample 2"));
        a.values[4] = f32::NAN;
        let error = a.row(0, 1).unwrap_err();
        assert!(error.contains("layer 5 of the reference is not finite"), "{error}");
        assert!(a.row(0, 0).is_ok());
    }
}
