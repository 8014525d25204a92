#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, TargetKl::SETTINGS_SCHEMA).unwrap()
}

/// The answer to a step of `samples` after one with this KL.
fn assess(text: &str, state: &[u8], kl: Option<f64>, samples: u32) -> Result<Assessment, String> {
    let mut signals = fixtures::signals(1, samples);
    signals.previous = Some(Outcome {
        step: 0,
        action: Action::Update,
        task_loss: 1.0,
        kl,
        gradient_norm: 1.0,
        learning_rate: 1e-4,
    });
    TargetKl::assess(&Call {
        settings: &parse(text),
        run: &fixtures::run(samples),
        parameters: &[],
        state,
        signals: &signals,
    })
}

fn weight_after(kl: Option<f64>) -> f64 {
    let regularization = assess(r#"{"kl_weight": 1}"#, &[], kl, 1).unwrap().regularization;
    assert_eq!(regularization.task_weight, [1.0]);
    regularization.kl_weight[0]
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
fn without_a_kl_the_weight_stays_and_with_a_broken_one_the_step_fails() {
    assert_eq!(weight_after(None), 1.0);
    for kl in [f64::NAN, f64::INFINITY] {
        assert!(assess("{}", &[], Some(kl), 1).is_err());
    }
}

#[test]
fn the_weight_goes_on_from_its_state_and_stays_in_range() {
    let first = assess(r#"{"kl_weight": 1}"#, &[], Some(1.0), 2).unwrap();
    let second = assess(r#"{"kl_weight": 1}"#, &first.state, Some(1.0), 2).unwrap();
    assert!((second.regularization.kl_weight[1] - 1.02 * 1.02).abs() < 1e-12);
    let top = assess(r#"{"kl_weight": 10}"#, &[], Some(1.0), 1).unwrap();
    assert_eq!(top.regularization.kl_weight, [10.0]);
    let bottom = assess(r#"{"kl_weight": 0.001}"#, &[], Some(0.0), 1).unwrap();
    assert_eq!(bottom.regularization.kl_weight, [0.001]);
}

#[test]
fn damaged_or_impossible_state_is_refused() {
    let mut state = assess("{}", &[], None, 1).unwrap().state;
    state[7] ^= 1;
    assert!(assess("{}", &state, None, 1).is_err());
    let negative = Writer::new(KIND, VERSION).f64(-1.0).finish();
    assert!(assess("{}", &negative, None, 1).unwrap_err().contains("-1"));
}

#[test]
fn a_step_without_samples_is_answered() {
    assert!(assess("{}", &[], Some(0.1), 0).unwrap().risk.is_empty());
}

#[test]
fn settings_out_of_range_name_their_key() {
    for (text, key) in [
        (r#"{"target": 0}"#, "`target`"),
        (r#"{"kl_weight": 0}"#, "`kl_weight`"),
        (r#"{"gain": 2}"#, "`gain`"),
        (r#"{"clip": 1}"#, "`clip`"),
    ] {
        let error = TargetKl::needs(&parse(text), &fixtures::run(1)).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
    let needs = TargetKl::needs(&parse("{}"), &fixtures::run(1)).unwrap();
    assert_eq!(needs, Needs::new());
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(TargetKl::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
