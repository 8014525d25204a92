#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::{Asft, Settings};

fn parse(text: &str) -> Settings {
    settings::parse(text, Asft::SETTINGS_SCHEMA).unwrap()
}

#[test]
fn the_penalty_is_lambda_times_the_squared_norm() {
    let run = fixtures::run(2);
    let settings = parse(r#"{"lambda": 0.5}"#);
    let needs = Asft::needs(&settings, &run).unwrap();
    assert_eq!(needs, Needs::new().actuators(Actuators::ALIGNMENT_COMPLEMENT));
    let signals = fixtures::signals(0, 2);
    let call =
        Call { settings: &settings, run: &run, parameters: &[], state: &[], signals: &signals };
    let regularization = Asft::assess(&call).unwrap().regularization;
    // Half of it is lambda.
    assert_eq!(regularization.alignment_complement, Some(1.0));
    assert_eq!(
        (regularization.task_weight, regularization.kl_weight),
        (vec![1.0; 2], vec![0.0; 2])
    );
}

#[test]
fn a_lambda_below_0_is_refused() {
    let error = Asft::needs(&parse(r#"{"lambda": -1}"#), &fixtures::run(1)).unwrap_err();
    assert!(error.contains("`lambda`"), "{error}");
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Asft::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
