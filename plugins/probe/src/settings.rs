//! The settings; `settings.schema.json` describes them for people and tools.

use risk_policy::adaptive::Adaptive;
use risk_policy::anchors::Anchors;
use risk_policy::probe;
use risk_policy::settings::invalid;

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    #[serde(flatten)]
    pub probe: probe::Settings,
    #[serde(flatten)]
    pub adaptive: Adaptive,
    pub anchors: Option<Anchors>,
    pub threshold: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            probe: probe::Settings::default(),
            adaptive: Adaptive::default(),
            anchors: None,
            threshold: 0.5,
        }
    }
}

impl Settings {
    /// # Errors
    /// For a value that is out of range, naming its key.
    pub fn check(&self) -> Result<(), String> {
        self.adaptive.check()?;
        self.probe.check()?;
        self.anchors.as_ref().map_or(Ok(()), Anchors::check)?;
        if !(0.0..=1.0).contains(&self.threshold) {
            let what = format!("{} is not in [0, 1]", self.threshold);
            return Err(invalid("threshold", what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Probe;
    use risk_policy::{Policy, settings};

    fn parse(text: &str) -> Result<Settings, String> {
        settings::parse(text, Probe::SETTINGS_SCHEMA)
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        for (text, key) in [
            (r#"{"b_min": -0.1}"#, "`b_min`"),
            (r#"{"b_max": 1.1}"#, "`b_max`"),
            (r#"{"b_min": 0.8, "b_max": 0.2}"#, "`b_min`"),
            (r#"{"smoothing": 1}"#, "`smoothing`"),
            (r#"{"l2": 0}"#, "`l2`"),
            (r#"{"calibration_rows": 5000}"#, "`calibration_rows`"),
            (r#"{"hinge": 1}"#, "`hinge`"),
            (r#"{"prior": 0}"#, "`prior`"),
            (r#"{"anchors": {"every": 0}}"#, "`anchors`"),
            (r#"{"mode": "published-code"}"#, "`mode`: is called \"clamp\""),
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
        let error = parse(r#"{"anchors": {"wieght": 1}}"#).unwrap_err();
        assert!(error.contains("`anchors`") && error.contains("`weight`"), "{error}");
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
