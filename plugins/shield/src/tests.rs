#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;
use crate::mdp::Mdp;

fn parse(text: &str) -> Settings {
    settings::parse(text, Shield::SETTINGS_SCHEMA).unwrap()
}

fn assess_with(
    settings: &Settings,
    state: &[u8],
    margin: Option<f64>,
    samples: u32,
) -> Result<Assessment, String> {
    // A step that visits anchors.
    let mut signals = fixtures::signals(1, samples);
    signals.canary = margin.map(|margin| Canary { step: 0, margins: vec![margin] });
    Shield::assess(&Call {
        settings,
        run: &fixtures::run(samples),
        parameters: &[],
        state,
        signals: &signals,
    })
}

fn assess(state: &[u8], margin: Option<f64>) -> Assessment {
    assess_with(&Settings::default(), state, margin, 1).unwrap()
}

fn weight(assessment: &Assessment) -> f64 {
    assert_eq!(assessment.regularization.task_weight, [1.0]);
    assert_eq!(assessment.regularization.kl_weight, [0.0]);
    assessment.regularization.anchor_weight.unwrap()
}

#[test]
fn golden_values_of_the_bound_and_the_budget() {
    let one = Mdp { transitions: vec![vec![vec![0.0, 0.1, 0.9]]] };
    assert!((one.bound()[0] - 0.1).abs() < 1e-12);
    let two = Mdp { transitions: vec![vec![vec![0.0, 0.1, 0.9], vec![0.0, 0.3, 0.7]]] };
    assert!((two.bound()[0] - 0.1).abs() < 1e-12);
    assert!((two.risks(0, &two.bound())[1] - 0.3).abs() < 1e-12);
    assert!((mdp::successor_budget(0.1, 0.5) - 0.55).abs() < 1e-12);
}

/// From 0 to unsafe .2, over .3, 0 again .5: .2 / (.2 + .3).
#[test]
fn a_loop_is_followed_to_its_end_and_the_bound_is_inductive() {
    let looped = Mdp { transitions: vec![vec![vec![0.5, 0.2, 0.3]]] };
    let bound = looped.bound();
    assert!((bound[0] - 0.4).abs() < 1e-8, "{bound:?}");
    assert!(bound[0] + 1e-15 >= looped.risks(0, &bound)[0]);
}

#[test]
fn the_share_spends_the_budget_and_no_more() {
    let (chances, bounds) = ([0.25, 0.5, 0.25], [0.2, 0.1, 0.0]);
    let risk: f64 = chances.iter().zip(bounds).map(|(p, b)| p * b).sum();
    let fraction = mdp::fraction(0.3, risk);
    let spent = chances.iter().zip(bounds);
    let spent: f64 = spent.map(|(p, b)| p * mdp::successor_budget(b, fraction)).sum();
    assert!((spent - 0.3).abs() < 1e-12);
    assert_eq!(mdp::fraction(0.05, 0.1), 0.0);
    assert_eq!(mdp::fraction(1.0, 1.0), 0.0);
}

#[test]
fn a_larger_budget_allows_a_weaker_hold() {
    let of = |budget: f64| {
        let settings = Settings { budget, ..Settings::default() };
        weight(&assess_with(&settings, &[], Some(4.0), 1).unwrap())
    };
    assert_eq!(of(1.0), 0.1);
    assert_eq!(of(0.0), 10.0);
    assert!((0.0..=1.0).contains(&assess(&[], Some(4.0)).risk[0]));
}

#[test]
fn the_hold_grows_as_the_margin_nears_the_limit_and_is_explained() {
    let settings = Settings::default();
    let first = assess_with(&settings, &[], Some(4.0), 1).unwrap();
    let near = assess_with(&settings, &first.state, Some(2.1), 1).unwrap();
    assert!(weight(&near) > weight(&first));
    assert_eq!(near.reasons[0].code, "forbidden");
    assert!(near.risk[0] > first.risk[0]);
    let lost = assess_with(&settings, &near.state, Some(1.9), 1).unwrap();
    assert_eq!((weight(&lost), lost.risk[0]), (10.0, 1.0));
    assert_eq!(lost.reasons[0].code, "unsafe");
    // Once lost, the budget is spent: the least risk that is left, whatever the margin.
    let back = assess_with(&settings, &lost.state, Some(4.0), 1).unwrap();
    let metric = |name: &str| back.metrics.iter().find(|m| m.name == name).unwrap().value;
    assert_eq!(metric("budget"), metric("bound"));
}

#[test]
fn a_hold_that_was_seen_to_fail_is_forbidden() {
    let settings = Settings { budget: 0.3, ..Settings::default() };
    let first = assess_with(&settings, &[], Some(4.0), 1).unwrap();
    let mut state = PolicyState::read(&first.state, &settings).unwrap().unwrap();
    for rung in 0..3 {
        for _ in 0..50 {
            state.experience.add(&settings, 0, rung, 5);
        }
    }
    let again = assess_with(&settings, &state.to_bytes(), Some(4.0), 1).unwrap();
    assert!(weight(&again) >= 3.0, "{}", weight(&again));
}

#[test]
fn between_measurements_the_decision_stays() {
    let first = assess(&[], Some(4.0));
    let second = assess(&first.state, None);
    assert_eq!(weight(&second), weight(&first));
    assert_eq!((second.risk, second.state), (first.risk, first.state));
    let unmeasured = assess(&[], None);
    assert_eq!((weight(&unmeasured), unmeasured.risk[0]), (10.0, 1.0));
}

#[test]
fn transitions_are_counted_in_the_state() {
    let settings = Settings::default();
    let first = assess(&[], Some(4.0));
    let rung = PolicyState::read(&first.state, &settings).unwrap().unwrap().rung;
    let second = assess(&first.state, Some(3.5));
    let state = PolicyState::read(&second.state, &settings).unwrap().unwrap();
    let mut expected = Experience::none(&settings);
    expected.add(&settings, 0, rung, 1);
    assert_eq!(state.experience, expected);
    assert_eq!(state.bin, 1);
}

#[test]
fn damaged_or_impossible_state_is_refused() {
    let mut state = assess(&[], Some(1.0)).state;
    // Of a longer ladder: another number of counts.
    let other = parse(r#"{"weights": [0.1, 1]}"#);
    assert!(assess_with(&other, &state, None, 1).is_err());
    state[7] ^= 1;
    assert!(assess_with(&Settings::default(), &state, None, 1).is_err());
    let settings = Settings::default();
    let impossible = PolicyState {
        first: 0.0,
        bin: 6,
        rung: 0,
        fraction: 0.0,
        risk: 0.0,
        experience: Experience::none(&settings),
    };
    let error = assess_with(&settings, &impossible.to_bytes(), None, 1).unwrap_err();
    assert!(error.contains("decision"), "{error}");
}

#[test]
fn margins_without_a_mean_fail_the_step_and_no_samples_do_not() {
    let settings = Settings::default();
    assert!(assess_with(&settings, &[], Some(f64::NAN), 1).is_err());
    let empty = assess_with(&settings, &[], Some(1.0), 0).unwrap();
    assert!(empty.risk.is_empty());
}

#[test]
fn the_canary_is_asked_for_and_settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    let needs = Shield::needs(&parse(r#"{"every": 3}"#), &run).unwrap();
    assert_eq!(needs.canary_every, Some(3));
    assert_eq!(needs.actuators, Actuators::SAFETY_ANCHORS);
    for (text, key) in [
        (r#"{"budget": 1.5}"#, "`budget`"),
        (r#"{"limit": 0}"#, "`limit`"),
        (r#"{"bins": 0}"#, "`bins`"),
        (r#"{"bins": 33}"#, "`bins`"),
        (r#"{"weights": []}"#, "`weights`"),
        (r#"{"weights": [0.5, 0.1]}"#, "`weights`"),
        (r#"{"weights": [1001]}"#, "`weights`"),
        (r#"{"prior": 0}"#, "`prior`"),
        (r#"{"every": 0}"#, "`every`"),
    ] {
        let error = Shield::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Shield::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
