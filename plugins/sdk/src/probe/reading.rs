//! One position and layer of the reference, with the classifier that reads it.

use crate::bindings::{Activations, Position, Source};
use crate::platt::Platt;
use crate::standardizer::Standardizer;

use super::classifier::Classifier;

/// The largest standardised feature that is believed, in standard deviations.
///
/// A linear classifier is the surer the farther it extrapolates, so it would call an
/// activation of -1e30 harmless beyond any doubt. Real ones stay below 1e3 even on
/// text unlike the calibration's.
const FARTHEST: f32 = 1e6;

/// A classifier on one layer at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub position: Position,
    pub layer: u32,
    pub standardizer: Standardizer,
    pub classifier: Classifier,
    pub platt: Platt,
}

/// Where a reading finds its activations in what was delivered.
#[derive(Debug, Clone, Copy)]
pub struct Delivered<'a> {
    activations: &'a Activations,
    layer_index: usize,
}

/// What a probe says of one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Risk {
    /// P(harmful).
    pub probability: f64,
    /// The layer and position that gave it.
    pub layer: u32,
    pub position: Position,
}

impl Risk {
    /// For a report.
    pub fn reason(&self) -> String {
        format!(
            "the prompt is harmful with probability {:.3}, by layer {} at {}",
            self.probability,
            self.layer,
            name(self.position)
        )
    }
}

impl Reading {
    pub(super) fn hidden(&self) -> usize {
        self.standardizer.mean.len()
    }

    /// Its activations among these.
    ///
    /// # Errors
    /// If they are absent or of another model.
    pub fn delivered<'a>(&self, activations: &'a [Activations]) -> Result<Delivered<'a>, String> {
        let activations = at(activations, self.position)?;
        if activations.hidden as usize != self.hidden() {
            return Err(format!(
                "the activations have width {}, the probe was calibrated for {}: calibrate it again",
                activations.hidden,
                self.hidden()
            ));
        }
        Ok(Delivered { activations, layer_index: activations.layer_index(self.layer)? })
    }

    /// P(harmful) of one sample.
    ///
    /// # Errors
    /// If the activation is absent, not finite, or far beyond all that calibration saw.
    pub fn risk(&self, delivered: Delivered<'_>, sample: usize) -> Result<Risk, String> {
        let mut row = delivered.activations.row(sample, delivered.layer_index)?.to_vec();
        self.standardizer.apply(&mut row);
        let near = row.iter().all(|feature| feature.abs() <= FARTHEST);
        let probability = self.platt.probability(self.classifier.logit(&row));
        if near && probability.is_finite() {
            Ok(Risk { probability, layer: self.layer, position: self.position })
        } else {
            Err(format!(
                "the activation of sample {sample} at layer {} is too large for the probe",
                self.layer
            ))
        }
    }
}

/// The activations of a position.
///
/// # Errors
/// If there are none.
pub(super) fn at(activations: &[Activations], position: Position) -> Result<&Activations, String> {
    let found = activations
        .iter()
        .find(|one| one.tap.source == Source::Reference && one.tap.position == position);
    found.ok_or_else(|| {
        format!(
            "the probe needs the activations of the reference at {}, there are none",
            name(position)
        )
    })
}

/// As the settings call it.
pub(super) fn name(position: Position) -> &'static str {
    match position {
        Position::LastPromptToken => "last-prompt-token",
        Position::PromptMean => "prompt-mean",
        Position::AnswerMean => "answer-mean",
    }
}
