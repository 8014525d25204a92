#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, SteeringGuard::SETTINGS_SCHEMA).unwrap()
}

/// Steering at this coefficient, and what it takes from the margin if that is measured.
fn signals(coefficient: f64, cosines: &[f64], fall: Option<f64>) -> Signals {
    let mut signals = fixtures::signals(0, 1);
    let margins = |fall: f64| vec![4.0 - fall, 6.0 - fall];
    signals.canary = fall.map(|_| Canary { step: 0, margins: margins(0.0) });
    signals.steering = Some(SteeringSignals {
        coefficient,
        cosines: cosines.to_vec(),
        margins_without: fall.map_or(Vec::new(), |_| margins(0.0)),
        margins_with: fall.map_or(Vec::new(), margins),
    });
    signals
}

fn assess(state: &[u8], signals: &Signals) -> Result<Assessment, String> {
    SteeringGuard::assess(&Call {
        settings: &Settings::default(),
        run: &fixtures::run(1),
        parameters: &[],
        state,
        signals,
    })
}

fn steering(assessment: &Assessment) -> (f64, bool) {
    let regularization = &assessment.regularization;
    assert_eq!(regularization.task_weight, [1.0]);
    assert_eq!(regularization.kl_weight, [0.0]);
    let steering = regularization.steering.unwrap();
    assert!(!steering.reference);
    (steering.coefficient, steering.project)
}

fn codes(assessment: &Assessment) -> Vec<&str> {
    let reasons = assessment.reasons.iter();
    reasons.map(|reason| reason.code.as_str()).collect()
}

#[test]
fn what_costs_little_is_allowed_as_it_is() {
    let answer = assess(&[], &signals(2.0, &[0.3, -0.05], Some(0.4))).unwrap();
    assert_eq!(steering(&answer), (2.0, false));
    assert!(answer.reasons.is_empty());
}

#[test]
fn what_costs_too_much_is_capped_in_proportion() {
    // 2 nats at 2: half a nat at 0.5.
    let answer = assess(&[], &signals(2.0, &[0.0], Some(2.0))).unwrap();
    assert_eq!(steering(&answer), (0.5, false));
    assert_eq!(codes(&answer), ["capped"]);
    let backward = assess(&[], &signals(-2.0, &[0.0], Some(2.0))).unwrap();
    assert_eq!(steering(&backward), (-0.5, false));
}

#[test]
fn a_cap_rises_slowly_and_never_beyond_what_was_wanted() {
    let mut last = assess(&[], &signals(2.0, &[0.0], Some(2.0))).unwrap();
    for expected in [1.0, 2.0, 2.0] {
        let in_force = steering(&last).0;
        last = assess(&last.state, &signals(in_force, &[0.0], Some(0.0))).unwrap();
        assert_eq!(steering(&last).0, expected);
    }
    assert!(last.reasons.is_empty());
}

#[test]
fn what_opposes_refusing_is_projected_whatever_the_sign() {
    for (coefficient, cosine, projected) in [
        (1.0, -0.2, true),
        (1.0, 0.2, false),
        (-1.0, 0.2, true),
        (-1.0, -0.2, false),
        (1.0, -0.1, false),
    ] {
        let answer = assess(&[], &signals(coefficient, &[0.5 * cosine, cosine], Some(0.0)));
        let answer = answer.unwrap();
        assert_eq!(steering(&answer), (coefficient, projected), "{coefficient} {cosine}");
        // Once asked for, it stays.
        let next = assess(&answer.state, &signals(coefficient, &[cosine], None)).unwrap();
        assert_eq!(steering(&next), (coefficient, projected));
    }
}

#[test]
fn between_measurements_the_verdict_stays() {
    let first = assess(&[], &signals(2.0, &[0.0], Some(2.0))).unwrap();
    let second = assess(&first.state, &signals(0.5, &[0.0], None)).unwrap();
    assert_eq!((steering(&second), &second.state), ((0.5, false), &first.state));
}

#[test]
fn signals_that_say_nothing_fail_the_step() {
    assert!(assess(&[], &fixtures::signals(0, 1)).is_err());
    assert!(assess(&[], &signals(1.0, &[], Some(0.0))).is_err());
    assert!(assess(&[], &signals(1.0, &[f64::NAN], Some(0.0))).is_err());
    assert!(assess(&[], &signals(1.0, &[0.0], Some(f64::NAN))).is_err());
    let mut unmeasured = signals(1.0, &[0.0], Some(0.0));
    unmeasured.steering.as_mut().unwrap().margins_with.clear();
    assert!(assess(&[], &unmeasured).unwrap_err().contains("margins"));
}

#[test]
fn damaged_or_impossible_state_is_refused() {
    let mut state = assess(&[], &signals(1.0, &[0.0], Some(0.0))).unwrap().state;
    state[7] ^= 1;
    assert!(assess(&state, &signals(1.0, &[0.0], None)).is_err());
    let beyond = Verdict { wanted: 1.0, coefficient: 2.0, project: false };
    let error = assess(&beyond.state(), &signals(1.0, &[0.0], None)).unwrap_err();
    assert!(error.contains("coefficient of 2"), "{error}");
}

#[test]
fn needs_name_the_layers_and_settings_out_of_range_their_key() {
    let run = fixtures::run(1);
    let needs = |text: &str| SteeringGuard::needs(&parse(text), &run);
    let of = |layers: Vec<u32>| {
        Needs::new().canary_every(5).steering(SteeringVector::Configured, layers)
    };
    assert_eq!(needs("{}").unwrap(), of(vec![2]));
    assert_eq!(needs(r#"{"layers": [1, 3]}"#).unwrap(), of(vec![1, 3]));
    for (text, key) in [
        (r#"{"layers": []}"#, "`layers`"),
        (r#"{"allowed_fall": 0}"#, "`allowed_fall`"),
        (r#"{"allowed_opposition": 2}"#, "`allowed_opposition`"),
        (r#"{"every": 0}"#, "`every`"),
    ] {
        let error = needs(text).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(SteeringGuard::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
