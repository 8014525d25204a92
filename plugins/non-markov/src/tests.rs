#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, NonMarkov::SETTINGS_SCHEMA).unwrap()
}

fn outcome(step: u64, gradient_norm: f64) -> Outcome {
    Outcome {
        step,
        action: Action::Update,
        task_loss: 0.5,
        kl: Some(0.1),
        gradient_norm,
        learning_rate: 1e-4,
    }
}

fn assess(
    settings: &Settings,
    state: &[u8],
    step: u64,
    margin: Option<f64>,
    gradient_norm: f64,
) -> Result<Assessment, String> {
    let mut signals = fixtures::signals(step, 1);
    signals.canary = margin.map(|margin| Canary { step, margins: vec![margin] });
    signals.sample_loss = Some(vec![0.5]);
    signals.previous = step.checked_sub(1).map(|before| outcome(before, gradient_norm));
    NonMarkov::assess(&Call {
        settings,
        run: &fixtures::run(1),
        parameters: &[],
        state,
        signals: &signals,
    })
}

/// A run of trajectories of two steps whose margins at the end are these.
fn run(settings: &Settings, margins: &[f64]) -> Assessment {
    let mut last = assess(settings, &[], 0, Some(4.0), 0.0).unwrap();
    for (index, margin) in margins.iter().enumerate() {
        let step = 2 * index as u64 + 1;
        last = assess(settings, &last.state, step, None, 0.3).unwrap();
        last = assess(settings, &last.state, step + 1, Some(*margin), 0.3).unwrap();
    }
    last
}

fn pairs() -> Settings {
    parse(r#"{"every": 2, "eta": 0.1, "anchors": {"weight": 1}}"#)
}

fn lambda(assessment: &Assessment) -> f64 {
    assert_eq!(assessment.regularization.task_weight, [1.0]);
    assert_eq!(assessment.regularization.kl_weight, [0.0]);
    assessment.regularization.anchor_weight.unwrap()
}

#[test]
fn the_golden_multiplier() {
    let settings = pairs();
    assert!((settings.next_lambda(1.0, -0.5) - 1.04487).abs() < 1e-5);
    assert_eq!(settings.next_lambda(0.001, 0.0), 0.0);
    assert_eq!(settings.next_lambda(99.9, -7.0), 100.0);
}

#[test]
fn unsafe_trajectories_raise_the_multiplier_and_safe_ones_lower_it() {
    let settings = pairs();
    let safe = run(&settings, &[4.0, 3.9, 4.1]);
    assert!(lambda(&safe) < settings.anchors.weight, "{}", lambda(&safe));
    assert!(safe.reasons.is_empty() && safe.risk[0] < 0.1);
    let lost = run(&settings, &[2.0, 1.0, 0.5]);
    assert!(lambda(&lost) > settings.anchors.weight, "{}", lambda(&lost));
    assert!(lost.risk[0] > 0.5);
    assert_eq!(lost.reasons[0].code, "unsafe-trajectory");
    assert!(lost.reasons[0].message.starts_with("steps 4 to 5 "));
}

#[test]
fn the_margin_may_fall_as_far_as_the_limit() {
    let settings = pairs();
    assert!(run(&settings, &[3.0]).reasons.is_empty());
    assert!(!run(&settings, &[2.999]).reasons.is_empty());
}

#[test]
fn a_step_within_a_trajectory_is_judged_by_what_was_learned() {
    let settings = pairs();
    let lost = run(&settings, &[2.0, 1.0, 0.5]);
    let next = assess(&settings, &lost.state, 7, None, 0.3).unwrap();
    assert_eq!(lambda(&next), lambda(&lost));
    assert!(next.risk[0] > 0.2, "{:?}", next.risk);
    let fresh = run(&settings, &[]);
    let next = assess(&settings, &fresh.state, 1, None, 0.3).unwrap();
    assert!(next.risk[0] < 0.1, "{:?}", next.risk);
}

#[test]
fn memory_is_bounded() {
    let settings = pairs();
    let long = run(&settings, &[4.0; KEPT + 3]);
    let longer = run(&settings, &[4.0; KEPT + 9]);
    assert_eq!(long.state.len(), longer.state.len());
    // Without a measurement the window slides.
    let mut last = run(&settings, &[]);
    for step in 1..9 {
        last = assess(&settings, &last.state, step, None, 0.3).unwrap();
    }
    let state = PolicyState::read(&last.state, &settings, 1).unwrap();
    assert_eq!(state.current.len(), 2);
}

#[test]
fn numbers_that_are_none_count_as_large_and_steps_not_taken_as_still() {
    let mut step = outcome(0, f64::NAN);
    step.task_loss = f64::INFINITY;
    assert_eq!(features(&step, [0.0; 2])[..3], [20.0, 0.1f64.ln_1p(), 20.0]);
    step.action = Action::Skip;
    assert_eq!(features(&step, [0.0; 2])[3], 0.0);
    let rows = features(&step, [3.0, 1.0]);
    assert_eq!(rows[4..], [3f64.ln_1p(), 2f64.ln_1p()]);
}

#[test]
fn margins_without_a_mean_fail_the_step() {
    assert!(assess(&pairs(), &[], 0, Some(f64::NAN), 0.0).is_err());
}

#[test]
fn damaged_or_impossible_state_is_refused() {
    let settings = pairs();
    let mut state = run(&settings, &[4.0]).state;
    let shorter = parse(r#"{"every": 1}"#);
    let error = assess(&shorter, &state, 3, None, 0.0).unwrap_err();
    assert!(error.contains("settings"), "{error}");
    state[9] ^= 1;
    assert!(assess(&settings, &state, 3, None, 0.0).is_err());
}

#[test]
fn the_canary_is_asked_for_and_settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    let needs = NonMarkov::needs(&parse(r#"{"every": 3}"#), &run).unwrap();
    assert!(needs.sample_loss && needs.canary_every == Some(3));
    assert_eq!(needs.actuators, Actuators::SAFETY_ANCHORS);
    for (text, key) in [
        (r#"{"threshold": 0}"#, "`threshold`"),
        (r#"{"threshold": 1.1}"#, "`threshold`"),
        (r#"{"eta": 0}"#, "`eta`"),
        (r#"{"anchors": {"weight": 101}}"#, "`weight`"),
        (r#"{"limit": -1}"#, "`limit`"),
        (r#"{"every": 0}"#, "`every`"),
        (r#"{"every": 101}"#, "`every`"),
    ] {
        let error = NonMarkov::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(NonMarkov::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
