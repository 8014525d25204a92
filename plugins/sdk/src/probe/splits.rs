//! What a classifier is fitted, calibrated and tested on.

use crate::bindings::{Activations, Examples, Split};
use crate::matrix::Matrix;
use crate::standardizer::Standardizer;

use super::classifier::Classifier;

/// The rows of one split, and which of them are harmful.
pub struct Labelled {
    pub data: Matrix,
    pub harmful: Vec<bool>,
}

impl Labelled {
    fn of(
        examples: &Examples,
        activations: &Activations,
        layer_index: usize,
        split: Split,
    ) -> Result<Self, String> {
        let mut data = Matrix::new(activations.hidden as usize);
        let mut harmful = Vec::new();
        for (i, example) in examples.examples.iter().enumerate() {
            if example.split == split {
                data.push(activations.row(i, layer_index)?)?;
                harmful.push(example.harmful);
            }
        }
        Ok(Self { data, harmful })
    }

    /// # Errors
    /// If a class is missing.
    fn with_both_classes(self, name: &str) -> Result<Self, String> {
        for (class, what) in [(true, "harmful"), (false, "harmless")] {
            if !self.harmful.contains(&class) {
                return Err(format!(
                    "the {name} split has no {what} example: calibration needs both kinds"
                ));
            }
        }
        Ok(self)
    }

    pub fn logits(&self, classifier: &Classifier) -> Vec<f64> {
        self.data.rows().map(|row| classifier.logit(row)).collect()
    }
}

/// The three splits at one layer, standardised with the statistics of training.
pub struct Splits {
    pub standardizer: Standardizer,
    pub training: Labelled,
    pub validation: Labelled,
    pub test: Labelled,
}

impl Splits {
    /// # Errors
    /// If training or validation lack a class, or an activation is absent or not finite.
    pub fn standardised(
        examples: &Examples,
        activations: &Activations,
        layer_index: usize,
    ) -> Result<Self, String> {
        let split = |split| Labelled::of(examples, activations, layer_index, split);
        let mut training = split(Split::Training)?.with_both_classes("training")?;
        let mut validation = split(Split::Validation)?.with_both_classes("validation")?;
        let mut test = split(Split::Test)?;
        let standardizer = Standardizer::fit(&training.data);
        for labelled in [&mut training, &mut validation, &mut test] {
            standardizer.apply_all(&mut labelled.data);
        }
        Ok(Self { standardizer, training, validation, test })
    }
}
