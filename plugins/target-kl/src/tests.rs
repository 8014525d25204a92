#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, TargetKl::SETTINGS_SCHEMA).unwrap()
}

/// The answer to a step after a visit of this divergence.
fn assess(text: &str, state: &[u8], kl: Option<f64>) -> Result<Assessment, String> {
    let signals = match kl {
        Some(kl) => fixtures::anchored(1, &[(true, kl), (false, kl)]),
        None => fixtures::signals(1, 1),
    };
    TargetKl::assess(&Call {
        settings: &parse(text),
        run: &fixtures::run(1),
        parameters: &[],
        state,
        signals: &signals,
    })
}

/// A target and a gain as they are usual.
const USUAL: &str = r#"{"target": 0.1, "gain": 0.1, "anchors": {"weight": 1}}"#;

fn weight_of(assessment: &Assessment) -> f64 {
    let regularization = &assessment.regularization;
    assert_eq!((regularization.task_weight[0], regularization.kl_weight[0]), (1.0, 0.0));
    regularization.anchor_weight.unwrap()
}

fn weight_after(kl: Option<f64>) -> f64 {
    weight_of(&assess(USUAL, &[], kl).unwrap())
}

#[test]
fn twice_the_target_raises_the_weight_by_two_percent() {
    assert!((weight_after(Some(0.2)) - 1.02).abs() < 1e-12);
}

#[test]
fn the_error_is_proportional_within_the_clip_and_has_both_signs() {
    assert!((weight_after(Some(0.11)) - 1.01).abs() < 1e-12);
    assert!((weight_after(Some(0.1)) - 1.0).abs() < 1e-12);
    assert!((weight_after(Some(0.0)) - 0.98).abs() < 1e-12);
    assert!((weight_after(Some(1e9)) - 1.02).abs() < 1e-12);
}

#[test]
fn without_a_visit_the_weight_stays_and_with_a_broken_one_the_step_fails() {
    assert_eq!(weight_after(None), 1.0);
    for kl in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(assess("{}", &[], Some(kl)).is_err());
    }
}

#[test]
fn steps_between_visits_have_no_anchors() {
    let signals = fixtures::signals(2, 1);
    let settings = parse(r#"{"anchors": {"every": 2}}"#);
    let run = fixtures::run(1);
    let call =
        Call { settings: &settings, run: &run, parameters: &[], state: &[], signals: &signals };
    assert_eq!(TargetKl::assess(&call).unwrap().regularization.anchor_weight, None);
}

#[test]
fn the_weight_goes_on_from_its_state_and_stays_in_range() {
    let first = assess(USUAL, &[], Some(1.0)).unwrap();
    let second = assess(USUAL, &first.state, Some(1.0)).unwrap();
    assert!((weight_of(&second) - 1.02 * 1.02).abs() < 1e-12);
    let top = assess(r#"{"anchors": {"weight": 100}}"#, &[], Some(1.0)).unwrap();
    assert_eq!(weight_of(&top), 100.0);
    let bottom = assess(r#"{"anchors": {"weight": 0.001}}"#, &[], Some(0.0)).unwrap();
    assert_eq!(weight_of(&bottom), 0.001);
}

#[test]
fn damaged_or_impossible_state_is_refused() {
    let mut state = assess("{}", &[], None).unwrap().state;
    state[7] ^= 1;
    assert!(assess("{}", &state, None).is_err());
    let negative = Writer::new(KIND, VERSION).f64(-1.0).finish();
    assert!(assess("{}", &negative, None).unwrap_err().contains("-1"));
}

#[test]
fn settings_out_of_range_name_their_key() {
    for (text, key) in [
        (r#"{"target": 0}"#, "`target`"),
        (r#"{"anchors": {"weight": 0}}"#, "`weight`"),
        (r#"{"gain": 2}"#, "`gain`"),
        (r#"{"clip": 1}"#, "`clip`"),
    ] {
        let error = TargetKl::needs(&parse(text), &fixtures::run(1)).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
    let needs = TargetKl::needs(&parse("{}"), &fixtures::run(1)).unwrap();
    assert_eq!(needs, crate::Anchors::default().needs(Needs::new()));
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(TargetKl::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
