//! The settings of a probe; flatten them into the policy's own.

use crate::bindings::{Needs, Position, RunInfo, Source};
use crate::settings::invalid;

/// The classifier on the activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    Logistic,
    DifferenceOfMeans,
    Mlp,
}

impl Method {
    pub const ALL: [Self; 3] = [Self::Logistic, Self::DifferenceOfMeans, Self::Mlp];

    pub fn name(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::DifferenceOfMeans => "difference-of-means",
            Self::Mlp => "mlp",
        }
    }
}

/// Where the reference's activation is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    LastPromptToken,
    PromptMean,
    /// At each of them, by a classifier of its own; the larger risk counts.
    Both,
}

impl Place {
    /// The positions that a classifier reads, each its own.
    pub fn positions(self) -> &'static [Position] {
        match self {
            Self::LastPromptToken => &[Position::LastPromptToken],
            Self::PromptMean => &[Position::PromptMean],
            Self::Both => &[Position::LastPromptToken, Position::PromptMean],
        }
    }
}

#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    pub method: Method,
    pub compare: bool,
    pub layers: Option<Vec<u32>>,
    pub position: Place,
    pub l2: f64,
    /// Rows of the run, unlabelled, that say which risk is usual in it.
    pub calibration_rows: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            method: Method::Logistic,
            compare: false,
            layers: None,
            position: Place::LastPromptToken,
            l2: 0.1,
            calibration_rows: 0,
        }
    }
}

/// The host gives no more.
const MOST_ROWS: u32 = 4096;

impl Settings {
    /// # Errors
    /// For a value that is out of range, naming its key.
    pub fn check(&self) -> Result<(), String> {
        if self.l2.is_nan() || self.l2 <= 0.0 {
            return Err(invalid("l2", format!("{} is not above 0", self.l2)));
        }
        if self.calibration_rows > MOST_ROWS {
            let what = format!("{} is more than {MOST_ROWS}", self.calibration_rows);
            return Err(invalid("calibration_rows", what));
        }
        Ok(())
    }

    /// What calibration and assessment need; calibration narrows it to one layer.
    ///
    /// # Errors
    /// As [`Settings::check`] and [`Settings::layers`].
    pub fn needs(&self, run: &RunInfo) -> Result<Needs, String> {
        self.check()?;
        let layers = self.layers(run)?;
        Ok(self.needs_of(self.position.positions().iter().map(|at| (*at, layers.clone()))))
    }

    /// Taps of these positions, with the layers of each.
    pub(super) fn needs_of(&self, taps: impl Iterator<Item = (Position, Vec<u32>)>) -> Needs {
        let needs = Needs::new().calibrated().calibration_rows(self.calibration_rows);
        taps.fold(needs, |needs, (position, layers)| needs.tap(Source::Reference, position, layers))
    }

    /// The layers to read: ascending, without repeats, all within the model.
    ///
    /// # Errors
    /// If one is not in the model, or none is named.
    pub fn layers(&self, run: &RunInfo) -> Result<Vec<u32>, String> {
        let Some(given) = &self.layers else {
            return Ok(spread(run.layers));
        };
        let mut layers = given.clone();
        layers.sort_unstable();
        layers.dedup();
        match layers.last() {
            None => Err(invalid("layers", "names no layer: give at least one, or null")),
            Some(deepest) if *deepest > run.layers => Err(invalid(
                "layers",
                format!("{deepest} is beyond the model, whose layers are 0 to {}", run.layers),
            )),
            Some(_) => Ok(layers),
        }
    }
}

/// Up to six layers, evenly spaced, the deepest included.
fn spread(depth: u32) -> Vec<u32> {
    let count = depth.min(6);
    if count == 0 {
        return vec![0];
    }
    (1..=count).map(|k| (2 * depth * k + count) / (2 * count)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures;

    #[test]
    fn default_layers_are_spread_over_the_depth() {
        assert_eq!(spread(30), [5, 10, 15, 20, 25, 30]);
        assert_eq!(spread(32), [5, 11, 16, 21, 27, 32]);
        assert_eq!(spread(4), [1, 2, 3, 4]);
        assert_eq!(spread(0), [0]);
    }

    #[test]
    fn given_layers_are_sorted_and_checked() {
        let run = fixtures::run(1);
        let layers = |layers: &[u32]| {
            Settings { layers: Some(layers.to_vec()), ..Settings::default() }.layers(&run)
        };
        assert_eq!(layers(&[3, 0, 3]).unwrap(), [0, 3]);
        assert!(layers(&[5]).unwrap_err().contains("0 to 4"));
        assert!(layers(&[]).unwrap_err().contains("`layers`"));
    }
}
