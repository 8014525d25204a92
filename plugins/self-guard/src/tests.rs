#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, SelfGuard::SETTINGS_SCHEMA).unwrap()
}

/// Steering at this coefficient, and what it adds to the margin if that is measured.
fn signals(coefficient: f64, gain: Option<f64>) -> Signals {
    let mut signals = fixtures::signals(0, 1);
    let margins = |gain: f64| vec![4.0 + gain, 6.0 + gain];
    signals.canary = gain.map(|_| Canary { step: 0, margins: margins(0.0) });
    signals.steering = Some(SteeringSignals {
        coefficient,
        cosines: vec![0.2],
        margins_without: gain.map_or(Vec::new(), |_| margins(0.0)),
        margins_with: gain.map_or(Vec::new(), margins),
    });
    signals
}

fn assess(state: &[u8], signals: &Signals) -> Result<Assessment, String> {
    SelfGuard::assess(&Call {
        settings: &parse(r#"{"kl_weight": 0.25}"#),
        run: &fixtures::run(1),
        parameters: &[],
        state,
        signals,
    })
}

fn coefficient_of(assessment: &Assessment) -> f64 {
    let weights = &assessment.regularization;
    assert_eq!(weights.kl_weight, [0.25]);
    assert_eq!(weights.task_weight, [0.75]);
    let steering = weights.steering.unwrap();
    assert!(steering.reference && !steering.project);
    steering.coefficient
}

#[test]
fn the_reference_teaches_steered_while_that_makes_it_safer() {
    let first = assess(&[], &signals(1.5, Some(0.25))).unwrap();
    assert_eq!(coefficient_of(&first), 1.5);
    assert!(first.reasons.is_empty());
    assert_eq!(first.metrics[1], Metric::new("margin.gain", 0.25));
    let second = assess(&first.state, &signals(1.5, None)).unwrap();
    assert_eq!(coefficient_of(&second), 1.5);
    assert_eq!(second.state, first.state);
}

#[test]
fn steering_that_gains_nothing_is_switched_off_and_tried_again_before_each_measurement() {
    for gain in [0.0, -1.0] {
        let first = assess(&[], &signals(1.5, Some(gain))).unwrap();
        assert_eq!(coefficient_of(&first), 0.0);
        assert_eq!(first.reasons[0].code, "not-steered");
        let off = |step: u64, state: &[u8]| {
            let mut later = signals(0.0, None);
            later.step = step;
            assess(state, &later).unwrap()
        };
        let second = off(1, &first.state);
        assert_eq!(coefficient_of(&second), 0.0);
        assert!(second.reasons.is_empty());
        // Step 20 measures, so step 19 is steered.
        let last = off(19, &second.state);
        assert_eq!(coefficient_of(&last), 1.5);
        assert_eq!(last.reasons[0].code, "tried-again");
        let helped = assess(&last.state, &signals(1.5, Some(0.5))).unwrap();
        assert_eq!(coefficient_of(&helped), 1.5);
        let no = assess(&last.state, &signals(1.5, Some(gain))).unwrap();
        assert_eq!(coefficient_of(&no), 0.0);
    }
}

#[test]
fn signals_that_say_nothing_fail_the_step() {
    assert!(assess(&[], &fixtures::signals(0, 1)).is_err());
    assert!(assess(&[], &signals(1.0, Some(f64::NAN))).is_err());
    let mut unmeasured = signals(1.0, Some(0.0));
    unmeasured.steering.as_mut().unwrap().margins_with.clear();
    assert!(assess(&[], &unmeasured).unwrap_err().contains("margins"));
}

#[test]
fn damaged_state_is_refused() {
    let mut state = assess(&[], &signals(1.0, Some(1.0))).unwrap().state;
    state[7] ^= 1;
    assert!(assess(&state, &signals(1.0, None)).is_err());
}

#[test]
fn needs_name_the_layers_and_settings_out_of_range_their_key() {
    let run = fixtures::run(1);
    let needs = |text: &str| SelfGuard::needs(&parse(text), &run);
    let of = |layers: Vec<u32>| {
        Needs::new().canary_every(20).steering(SteeringVector::SafetyInstruction, layers)
    };
    assert_eq!(needs("{}").unwrap(), of(vec![2]));
    assert_eq!(needs(r#"{"layers": [1, 3]}"#).unwrap(), of(vec![1, 3]));
    for (text, key) in [
        (r#"{"layers": []}"#, "`layers`"),
        (r#"{"kl_weight": 1.5}"#, "`kl_weight`"),
        (r#"{"every": 0}"#, "`every`"),
    ] {
        let error = needs(text).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(SelfGuard::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
