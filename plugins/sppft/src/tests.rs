#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::{Settings, Sppft};

fn parse(text: &str) -> Settings {
    settings::parse(text, Sppft::SETTINGS_SCHEMA).unwrap()
}

#[test]
fn the_second_quarter_of_the_depth_is_frozen_unless_the_settings_say_otherwise() {
    let scales = |text: &str, layers: u32| {
        parse(text).scales(&RunInfo { layers, ..fixtures::run(1) }).unwrap()
    };
    assert_eq!(scales("{}", 4), [1.0, 0.0, 1.0, 1.0]);
    let deep = scales("{}", 32);
    let frozen: Vec<usize> = (1..=32).filter(|block| deep[block - 1] == 0.0).collect();
    assert_eq!(frozen, (9..=16).collect::<Vec<_>>());
    assert_eq!(scales(r#"{"first": 1, "last": 3, "scale": 0.5}"#, 4), [0.5, 0.5, 0.5, 1.0]);
    assert_eq!(scales("{}", 2), [0.0, 1.0]);
}

#[test]
fn the_scales_are_asked_for_at_every_step() {
    let run = fixtures::run(2);
    let settings = parse("{}");
    let needs = Sppft::needs(&settings, &run).unwrap();
    assert_eq!(needs, Needs::new().actuators(Actuators::LAYER_SCALE));
    let signals = fixtures::signals(5, 2);
    let call =
        Call { settings: &settings, run: &run, parameters: &[], state: &[], signals: &signals };
    let regularization = Sppft::assess(&call).unwrap().regularization;
    assert_eq!(regularization.layer_scale, Some(vec![1.0, 0.0, 1.0, 1.0]));
    assert_eq!(regularization.kl_weight, [0.0, 0.0]);
}

#[test]
fn blocks_that_are_not_there_and_a_model_without_a_free_block_are_refused() {
    let run = fixtures::run(1);
    for (text, part) in [
        (r#"{"first": 0}"#, "no block 0: this model has blocks 1 to 4"),
        (r#"{"first": 5}"#, "no block 5"),
        (r#"{"first": 3, "last": 2}"#, "`last`: 2"),
        (r#"{"last": 9}"#, "`last`: 9"),
        (r#"{"first": 1, "last": 4}"#, "every block is frozen"),
        (r#"{"scale": 2}"#, "`scale`"),
    ] {
        let error = Sppft::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Sppft::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
