//! The settings.

use risk_policy::adaptive::{Adaptive, Aggregation, Mode};
use risk_policy::anchors::Anchors;
use risk_policy::bindings::{Actuators, Needs, RunInfo};
use risk_policy::hinge::Shape;
use risk_policy::judgements::{self, WORST};
use risk_policy::probe::{self, Place};
use risk_policy::settings::invalid;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value};

/// What says how risky a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    None,
    Probe,
    Judge,
}

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    #[serde(deserialize_with = "over_defaults")]
    pub anchors: Anchors,
    /// Alignment samples in addition to the batch.
    pub alignment_rows: u32,
    pub risk: Risk,
    pub layers: Option<Vec<u32>>,
    pub position: Place,
    pub calibration_rows: u32,
    pub judge: Option<String>,
    pub unknown_score: f64,
    #[serde(flatten)]
    pub shape: Shape,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            anchors: anchors(),
            alignment_rows: 0,
            risk: Risk::None,
            layers: None,
            position: Place::Both,
            calibration_rows: 256,
            judge: None,
            unknown_score: WORST,
            shape: Shape::default(),
        }
    }
}

/// Whether a request is refused is decided in the first tokens of an answer. Over more of them
/// the mean is mostly of tokens that nothing moves, and holds these less.
const ANSWER_TOKENS: u32 = 4;
const WEIGHT: f64 = 1.0;

fn anchors() -> Anchors {
    Anchors { answer_tokens: ANSWER_TOKENS, weight: WEIGHT, ..Anchors::default() }
}

/// What is given of the table beside these two.
fn over_defaults<'de, D: Deserializer<'de>>(from: D) -> Result<Anchors, D::Error> {
    let mut given = Map::<String, Value>::deserialize(from)?;
    given.entry("answer_tokens").or_insert(ANSWER_TOKENS.into());
    given.entry("weight").or_insert(WEIGHT.into());
    Anchors::deserialize(Value::Object(given)).map_err(D::Error::custom)
}

/// The host gives no more.
const MOST_ROWS: u32 = 1024;

impl Settings {
    /// # Errors
    /// For a value that is out of range, naming its key.
    pub fn check(&self) -> Result<(), String> {
        self.anchors.check()?;
        if self.alignment_rows > MOST_ROWS {
            let what = format!("{} is more than {MOST_ROWS}", self.alignment_rows);
            return Err(invalid("alignment_rows", what));
        }
        self.probe().check()?;
        judgements::check_score("unknown_score", self.unknown_score)?;
        self.shape.check()
    }

    pub fn probe(&self) -> probe::Settings {
        let Self { layers, position, calibration_rows, .. } = self.clone();
        probe::Settings { layers, position, calibration_rows, ..probe::Settings::default() }
    }

    /// A risky row is not learned at all, a harmless one as if there were no policy.
    pub fn adaptive(&self) -> Adaptive {
        Adaptive {
            mode: Mode::Adaptive,
            b_min: 0.0,
            b_max: 1.0,
            aggregation: Aggregation::Sample,
            smoothing: 0.0,
            shape: self.shape,
        }
    }

    /// The judge to ask.
    ///
    /// # Errors
    /// If the run has several and the setting names none.
    pub fn judge(&self, run: &RunInfo) -> Result<String, String> {
        judgements::choose(self.judge.as_deref(), run)
    }

    /// Adds what anchors and alignment samples take.
    pub fn beside(&self, needs: Needs) -> Needs {
        let needs = self.anchors.needs(needs);
        if self.alignment_rows == 0 {
            return needs;
        }
        needs.actuators(Actuators::ALIGNMENT_SHARE | Actuators::ALIGNMENT_EXTRA)
    }
}
