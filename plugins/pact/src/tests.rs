#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::{Pact, Settings};

fn parse(text: &str) -> Settings {
    settings::parse(text, Pact::SETTINGS_SCHEMA).unwrap()
}

#[test]
fn every_row_is_learned_and_its_safety_tokens_are_held() {
    let run = fixtures::run(2);
    let needs = Pact::needs(&parse("{}"), &run).unwrap();
    assert_eq!(needs, Needs::new().token_set(50, 2.0));
    let settings = parse(r#"{"kl_weight": 0.5}"#);
    let signals = fixtures::signals(3, 2);
    let call =
        Call { settings: &settings, run: &run, parameters: &[], state: &[], signals: &signals };
    let regularization = Pact::assess(&call).unwrap().regularization;
    let mut expected = Regularization::constant(2, 1.0, 0.5);
    expected.divergence = Divergence::TokenSetKl;
    assert_eq!(regularization, expected);
}

#[test]
fn settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    for (text, key) in [
        (r#"{"kl_weight": 11}"#, "`kl_weight`"),
        (r#"{"tokens": 1}"#, "`tokens`"),
        // The run of the fixtures knows 100 tokens.
        (r#"{"tokens": 101}"#, "`tokens`"),
        (r#"{"temperature": 0}"#, "`temperature`"),
    ] {
        let error = Pact::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Pact::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
