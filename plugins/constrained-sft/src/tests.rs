#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, ConstrainedSft::SETTINGS_SCHEMA).unwrap()
}

fn assess(tokens: Option<TokenSignals>, samples: u32) -> Result<Assessment, String> {
    let mut signals = fixtures::signals(0, samples);
    signals.tokens = tokens;
    ConstrainedSft::assess(&Call {
        settings: &Settings::default(),
        run: &fixtures::run(samples),
        parameters: &[],
        state: &[],
        signals: &signals,
    })
}

fn moved(offsets: &[u32], moved: &[f32]) -> Option<TokenSignals> {
    Some(TokenSignals {
        offsets: offsets.to_vec(),
        current: moved.iter().map(|by| by - 8.0).collect(),
        reference: vec![-8.0; moved.len()],
    })
}

#[test]
fn golden_values_of_the_weight() {
    for (strength, moved, want) in [
        (2.0, 0.0, 1.0),
        (2.0, 1.0, 0.23841),
        (0.1, 1.0, 0.95004),
        (2.0, -1.0, 1.76159),
        (2.0, 5.0, 0.001),
        (2.0, 1e9, 0.001),
        (2.0, -1e9, 2.0),
    ] {
        let got = token_weight(strength, moved);
        assert!((got - want).abs() < 1e-5, "{strength} {moved}: {got}");
    }
}

#[test]
fn each_answer_begins_its_own_count_of_places() {
    let signals = moved(&[0, 7, 8], &[1.0; 8]);
    let regularization = assess(signals, 2).unwrap().regularization;
    assert_eq!(regularization.kl_weight, [0.0; 2]);
    let got = regularization.token_task_weight.unwrap();
    let (first, early, late) = (0.75508, 0.23841, 0.95004);
    let want = [first, early, early, early, early, late, late, first];
    for (g, w) in got.iter().zip(want) {
        assert!((f64::from(*g) - w).abs() < 1e-5, "{got:?}");
    }
}

#[test]
fn what_is_missing_or_not_finite_or_does_not_fit_fails_the_step() {
    assert!(assess(None, 1).is_err());
    assert!(assess(moved(&[0, 1], &[f32::NAN]), 1).is_err());
    assert!(assess(moved(&[0, 1], &[f32::NEG_INFINITY]), 1).is_err());
    assert!(assess(moved(&[0, 1], &[0.0]), 2).is_err());
    assert!(assess(moved(&[0, 2], &[0.0]), 1).is_err());
    assert!(assess(moved(&[0, 3, 2], &[0.0; 2]), 2).is_err());
    let mut lopsided = moved(&[0, 1], &[0.0]).unwrap();
    lopsided.reference.clear();
    assert!(assess(Some(lopsided), 1).is_err());
}

#[test]
fn a_step_without_samples_is_answered() {
    assert!(assess(moved(&[0], &[]), 0).unwrap().metrics.is_empty());
}

#[test]
fn what_it_needs_is_declared_and_settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    let needs = ConstrainedSft::needs(&parse("{}"), &run).unwrap();
    assert_eq!(needs.tokens, TokenNeeds::CURRENT | TokenNeeds::REFERENCE);
    assert_eq!(needs.actuators, Actuators::TOKEN_WEIGHTS);
    for key in ["first", "early", "late"] {
        let settings = parse(&format!("{{\"{key}\": -1}}"));
        let error = ConstrainedSft::needs(&settings, &run).unwrap_err();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(ConstrainedSft::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
