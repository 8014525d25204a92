//! The settings; `settings.schema.json` describes them for people and tools.

use risk_policy::adaptive::Adaptive;
use risk_policy::bindings::{Position, RunInfo};
use risk_policy::settings::invalid;

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
}

impl Place {
    pub fn position(self) -> Position {
        match self {
            Self::LastPromptToken => Position::LastPromptToken,
            Self::PromptMean => Position::PromptMean,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::LastPromptToken => "last-prompt-token",
            Self::PromptMean => "prompt-mean",
        }
    }
}

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    pub method: Method,
    pub compare: bool,
    pub layers: Option<Vec<u32>>,
    pub position: Place,
    pub l2: f64,
    #[serde(flatten)]
    pub adaptive: Adaptive,
    pub threshold: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            method: Method::Logistic,
            compare: false,
            layers: None,
            position: Place::LastPromptToken,
            l2: 0.1,
            adaptive: Adaptive::default(),
            threshold: 0.5,
        }
    }
}

impl Settings {
    /// # Errors
    /// For a value that is out of range, naming its key.
    pub fn check(&self) -> Result<(), String> {
        self.adaptive.check()?;
        if !(0.0..=1.0).contains(&self.threshold) {
            let what = format!("{} is not in [0, 1]", self.threshold);
            return Err(invalid("threshold", what));
        }
        if self.l2.is_nan() || self.l2 <= 0.0 {
            return Err(invalid("l2", format!("{} is not above 0", self.l2)));
        }
        Ok(())
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
    use crate::Probe;
    use risk_policy::{Policy, fixtures, settings};

    fn parse(text: &str) -> Result<Settings, String> {
        settings::parse(text, Probe::SETTINGS_SCHEMA)
    }

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
        let layers = |text: &str| parse(text).unwrap().layers(&run);
        assert_eq!(layers(r#"{"layers": [3, 0, 3]}"#).unwrap(), [0, 3]);
        assert!(layers(r#"{"layers": [5]}"#).unwrap_err().contains("0 to 4"));
        assert!(layers(r#"{"layers": []}"#).unwrap_err().contains("`layers`"));
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        for (text, key) in [
            (r#"{"b_min": -0.1}"#, "`b_min`"),
            (r#"{"b_max": 1.1}"#, "`b_max`"),
            (r#"{"b_min": 0.8, "b_max": 0.2}"#, "`b_min`"),
            (r#"{"smoothing": 1}"#, "`smoothing`"),
            (r#"{"l2": 0}"#, "`l2`"),
            (r#"{"threshold": 2}"#, "`threshold`"),
        ] {
            let error = parse(text).unwrap().check().unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        assert!(Settings::default().check().is_ok());
    }

    #[test]
    fn unknown_keys_and_methods_are_refused() {
        let error = parse(r#"{"bmin": 0.1}"#).unwrap_err();
        assert!(error.contains("did you mean `b_min`?"), "{error}");
        let error = parse(r#"{"method": "forest"}"#).unwrap_err();
        assert!(error.contains("`method`") && error.contains("difference-of-means"), "{error}");
    }

    #[test]
    fn the_defaults_of_the_schema_are_those_of_the_code() {
        let text = risk_policy::fixtures::schema_defaults(Probe::SETTINGS_SCHEMA);
        let from_schema = parse(&text).unwrap();
        assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
    }
}
