#![allow(clippy::unwrap_used)]

use risk_policy::fixtures;
use risk_policy::prelude::*;
use risk_policy::settings;

use super::{FixedKl, Settings};

fn parse(text: &str) -> Result<Settings, String> {
    settings::parse(text, FixedKl::SETTINGS_SCHEMA)
}

fn weights(text: &str) -> (Vec<f64>, Vec<f64>) {
    let (run, signals) = (fixtures::run(2), fixtures::signals(0, 2));
    let call = Call {
        settings: &parse(text).unwrap(),
        run: &run,
        parameters: &[],
        state: &[],
        signals: &signals,
    };
    let regularization = FixedKl::assess(&call).unwrap().regularization;
    (regularization.task_weight, regularization.kl_weight)
}

#[test]
fn the_task_weight_is_what_is_left_unless_it_is_given() {
    assert_eq!(weights("{}"), (vec![0.75; 2], vec![0.25; 2]));
    assert_eq!(weights(r#"{"kl_weight": 0.5}"#), (vec![0.5; 2], vec![0.5; 2]));
    let both = weights(r#"{"kl_weight": 2, "task_weight": 1}"#);
    assert_eq!(both, (vec![1.0; 2], vec![2.0; 2]));
}

#[test]
fn impossible_weights_are_refused_before_the_run() {
    for (text, key) in [
        (r#"{"kl_weight": -0.1}"#, "`kl_weight`"),
        (r#"{"kl_weight": 11}"#, "`kl_weight`"),
        (r#"{"kl_weight": 1.5}"#, "set `task_weight`"),
        (r#"{"task_weight": -1}"#, "`task_weight`"),
    ] {
        let error = FixedKl::needs(&parse(text).unwrap(), &fixtures::run(2)).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
    assert!(FixedKl::needs(&parse("{}").unwrap(), &fixtures::run(2)).is_ok());
}

#[test]
fn unknown_settings_are_refused_with_a_suggestion() {
    let error = parse(r#"{"kl_wieght": 1}"#).err().unwrap();
    assert!(error.contains("did you mean `kl_weight`?"), "{error}");
}

#[test]
fn the_schema_agrees_with_the_defaults() {
    let schema = FixedKl::SETTINGS_SCHEMA;
    assert!(schema.contains(r#""default": 0.25"#) && Settings::default().kl_weight == 0.25);
}
