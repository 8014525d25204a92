#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, Lagrangian::SETTINGS_SCHEMA).unwrap()
}

fn assess(state: &[u8], margins: Option<&[f64]>, samples: u32) -> Result<Assessment, String> {
    let mut signals = fixtures::signals(0, samples);
    signals.canary = margins.map(|margins| Canary { step: 0, margins: margins.to_vec() });
    Lagrangian::assess(&Call {
        settings: &parse(r#"{"anchors": {"weight": 1}}"#),
        run: &fixtures::run(samples),
        parameters: &[],
        state,
        signals: &signals,
    })
}

fn weight(assessment: &Assessment) -> f64 {
    assert_eq!(assessment.regularization.task_weight, [1.0]);
    assert_eq!(assessment.regularization.kl_weight, [0.0]);
    assessment.regularization.anchor_weight.unwrap()
}

#[test]
fn the_logarithm_of_the_weight_moves_by_eta_times_the_excess() {
    // At the first measurement nothing is lost, which is .25 below the limit.
    let first = assess(&[], Some(&[3.0, 5.0]), 1).unwrap();
    assert!((weight(&first).ln() - -0.25).abs() < 1e-12);
    // From 4 to 0: all of it, .75 above the limit.
    let second = assess(&first.state, Some(&[0.0]), 1).unwrap();
    assert!((weight(&second).ln() - 0.5).abs() < 1e-12);
    assert_eq!(second.metrics[2], Metric::new("margin.lost", 1.0));
}

#[test]
fn between_measurements_the_weight_stays() {
    let first = assess(&[], Some(&[4.0]), 1).unwrap();
    let second = assess(&first.state, None, 1).unwrap();
    assert_eq!(weight(&second), weight(&first));
    assert_eq!(second.state, first.state);
}

#[test]
fn the_weight_stays_in_range() {
    let first = assess(&[], Some(&[0.0]), 1).unwrap();
    let fallen = assess(&first.state, Some(&[-1e6]), 1).unwrap();
    assert_eq!(weight(&fallen), LARGEST);
    let risen = assess(&fallen.state, Some(&[1e6]), 1).unwrap();
    assert_eq!(weight(&risen), SMALLEST);
}

#[test]
fn margins_without_a_mean_fail_the_step() {
    for margins in [&[][..], &[f64::NAN], &[f64::INFINITY, 1.0]] {
        assert!(assess(&[], Some(margins), 1).unwrap_err().contains("margins"));
    }
}

#[test]
fn damaged_or_impossible_state_is_refused() {
    let mut state = assess(&[], Some(&[1.0]), 1).unwrap().state;
    state[7] ^= 1;
    assert!(assess(&state, None, 1).is_err());
    let zero = Writer::new(KIND, VERSION).f64(0.0).u8(0).finish();
    assert!(assess(&zero, None, 1).unwrap_err().contains("weight of 0"));
}

#[test]
fn a_step_without_samples_is_answered() {
    assert!(assess(&[], Some(&[1.0]), 0).unwrap().risk.is_empty());
}

#[test]
fn the_canary_is_asked_for_and_settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    let needs = Lagrangian::needs(&parse(r#"{"every": 3}"#), &run).unwrap();
    assert_eq!(needs.canary_every, Some(3));
    assert_eq!(needs.actuators, Actuators::SAFETY_ANCHORS);
    for (text, key) in [
        (r#"{"limit": -1}"#, "`limit`"),
        (r#"{"eta": 0}"#, "`eta`"),
        (r#"{"anchors": {"weight": 0}}"#, "`weight`"),
        (r#"{"anchors": {"target": 1}}"#, "`target`"),
        (r#"{"every": 0}"#, "`every`"),
    ] {
        let error = Lagrangian::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Lagrangian::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
